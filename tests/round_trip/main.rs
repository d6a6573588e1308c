//! Random tables of random types and values, copied there and back between the products, and found equal.
//!
//! `make test` runs 200 of them and `make test-long` 10,000; by hand, with the servers up (`tests/servers.py`):
//!
//! ```text
//! DRAY_ROUND_TRIPS=1000 cargo test --test round_trip
//! ```
//!
//! A table that fails is made smaller until no part of it can be left out, and then printed as SQL, with the seed that
//! makes it again (`DRAY_ROUND_TRIP_SEED`). Whether two tables are equal is the database's word: it subtracts one from
//! the other, each value spelled so that no two values look alike.

mod kinds;
mod places;

use std::{
    cell::RefCell,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use dray::copy::Lanes;
use proptest::{
    strategy::{Strategy, ValueTree},
    test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner},
};

use self::{
    kinds::{Product, Table, tables},
    places::Ground,
};

/// Tables that are copied by one call: connections and catalogs cost more than a small table.
const BATCH_TABLES: usize = 25;

const PRODUCTS: [Product; 3] = [Product::Postgres, Product::MariaDb, Product::Sqlite];

fn main() {
    let cases = number("DRAY_ROUND_TRIPS").unwrap_or(200) as usize;
    let seed = number("DRAY_ROUND_TRIP_SEED").unwrap_or_else(|| {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        now.as_nanos() as u64
    });
    // The last lines are those of Rust's own test programs, which `tests/run.py` reads.
    println!("{cases} round trips, DRAY_ROUND_TRIP_SEED={seed}");
    let ways: Vec<(Product, Product, Lanes)> = [Lanes::Auto, Lanes::Odbc]
        .into_iter()
        .flat_map(|lanes| PRODUCTS.map(|from| PRODUCTS.map(|to| (from, to, lanes))))
        .flatten()
        .collect();
    // Every way has its turn, also where there are few cases.
    let batch = BATCH_TABLES.min(cases.div_ceil(ways.len())).max(1);
    let ground = RefCell::new(Ground::new());
    let started = Instant::now();
    let (mut done, mut turn) = (0, 0);
    while done < cases {
        let (from, to, lanes) = ways[turn % ways.len()];
        let mut runner = runner(seed, turn as u64);
        let count = batch.min(cases - done);
        let trees: Vec<_> = (0..count)
            .map(|_| {
                tables(from, to)
                    .new_tree(&mut runner)
                    .expect("no strategy here rejects anything")
            })
            .collect();
        let shown: Vec<Table> = trees.iter().map(ValueTree::current).collect();
        let results = ground.borrow_mut().round_trip(from, to, lanes, &shown);
        for (tree, result) in trees.into_iter().zip(results) {
            let Err(reason) = result else { continue };
            println!("{from:?} to {to:?} and back, {lanes:?}: {reason}\nlooking for a smaller table…");
            let smaller = runner.run_one(tree, |table| {
                let result = ground.borrow_mut().round_trip(from, to, lanes, &[table]).remove(0);
                result.map_err(TestCaseError::fail)
            });
            match smaller {
                Err(TestError::Fail(reason, table)) => println!("{reason}\n{table:?}"),
                other => println!("alone the table passes ({other:?}); the batch was\n{shown:#?}"),
            }
            println!("again: DRAY_ROUND_TRIP_SEED={seed} DRAY_ROUND_TRIPS={cases}");
            println!("test round_trip ... FAILED\ntest result: FAILED. 0 passed; 1 failed; 0 ignored;");
            std::process::exit(1);
        }
        done += count;
        turn += 1;
    }
    println!(
        "{done} tables came back equal, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    println!("test result: ok. 1 passed; 0 failed; 0 ignored;");
}

/// A runner whose numbers depend on the seed and the turn alone.
fn runner(seed: u64, turn: u64) -> TestRunner {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    bytes[8..16].copy_from_slice(&turn.to_le_bytes());
    let config = Config {
        failure_persistence: None,
        max_shrink_iters: 400,
        ..Config::default()
    };
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}
