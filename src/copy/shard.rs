//! Which part of a request each of its tables belongs to, where the request is split over several calls that know nothing
//! of each other.
//!
//! The table's name in the target decides, which no other table of the request has, and nothing else: neither sizes, which
//! change while the calls begin, nor the place in a catalog, which a new table shifts. So each table is in one part,
//! whoever asks and when, as long as the plan and the number of parts are the same; and a table that comes or goes
//! meanwhile changes nothing about the others. The price is that parts are of about the same number of tables, and not of
//! bytes: several for each machine even that out.

use sha2::{Digest, Sha256};

use super::{
    error::{Side, TableError},
    job::{Job, refused},
    request::Request,
};
use crate::database::{Relation, Source};

/// The tables of the request's shard, in their order, and those of the others; all of them, and none, if it has no shard.
///
/// # Errors
/// One table reads at the target what another one writes: which is first nobody could say.
pub(super) fn part<'a>(jobs: Vec<Job<'a>>, request: &Request) -> Result<[Vec<Job<'a>>; 2], Box<TableError>> {
    let Some(shard) = request.shard.filter(|shard| shard.count > 1) else {
        return Ok([jobs, Vec::new()]);
    };
    let reads_target = |job: &&Job<'_>| job.source.string == request.target.string;
    for reader in jobs.iter().filter(reads_target) {
        let Some(writer) = jobs.iter().find(|writer| may_read(reader, writer)) else {
            continue;
        };
        let message = format!(
            "`{}` reads in the target what is written to `{}`, perhaps by another shard",
            reader.target, writer.target
        );
        let mut error = refused(Side::Target, "copy.shard_order", message);
        error.hint = Some("copy it in a call of its own, once all shards have ended".to_owned());
        return Err(error);
    }
    let all = jobs.len();
    let (own, others): (Vec<Job<'_>>, Vec<Job<'_>>) = jobs
        .into_iter()
        .partition(|job| shard_of(&job.target, shard.count) == shard.number);
    tracing::info!(
        event = "copy.shard",
        shard = %shard,
        tables = own.len(),
        of_tables = all,
        "copying a part of the tables"
    );
    Ok([own, others])
}

/// Whether a job that reads in the target may read what the other writes; a query may read anything.
fn may_read(reader: &Job<'_>, writer: &Job<'_>) -> bool {
    let is_other = reader.target != writer.target;
    is_other
        && match &reader.what {
            Source::Query(_) => true,
            Source::Table { relation, .. } => {
                let schemas = relation.schema.as_ref().zip(writer.target.schema.as_ref());
                let is_beside = relation.catalog == writer.target.catalog && relation.server.is_none();
                is_beside
                    && relation.name == writer.target.name
                    && schemas.is_none_or(|(read, written)| read == written)
            }
        }
}

/// The number of the part, from 1, that a table belongs to.
fn shard_of(target: &Relation, count: u32) -> u32 {
    let mut hasher = Sha256::new();
    if let Some(catalog) = &target.catalog {
        hasher.update(catalog);
        hasher.update([0]);
    }
    hasher.update(target.schema.as_deref().unwrap_or_default());
    // No name has it, so that `a.b` and `ab` are two.
    hasher.update([0]);
    hasher.update(&target.name);
    let digest = hasher.finalize();
    let number = digest
        .iter()
        .take(8)
        .fold(0, |number, byte| number << 8 | u64::from(*byte));
    1 + u32::try_from(number % u64::from(count.max(1))).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn relation(schema: Option<&str>, name: &str) -> Relation {
        Relation::new(schema.map(str::to_owned), name)
    }

    #[test]
    fn a_table_is_in_the_same_part_in_every_version_of_dray() {
        // Tasks of one run may have been given another dray, and a run is run again after an update.
        let parts = ["a", "orders", "größe"].map(|name| shard_of(&relation(None, name), 8));
        assert_eq!(parts, [3, 5, 8]);
        assert_eq!(shard_of(&relation(Some("staging"), "a"), 8), 7);
        let elsewhere = Relation {
            catalog: Some("other".to_owned()),
            ..relation(Some("staging"), "a")
        };
        assert_eq!(shard_of(&elsewhere, 8), 2);
    }

    #[test]
    fn parts_have_about_the_same_number_of_tables() {
        let mut tables = [0; 8];
        for number in 0..8_000 {
            tables[shard_of(&relation(Some("dbo"), &format!("table_{number}")), 8) as usize - 1] += 1;
        }
        assert!(tables.iter().all(|tables| (900..1_100).contains(tables)), "{tables:?}");
    }
}
