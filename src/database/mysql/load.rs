//! The lanes in: rows as a text that is sent in chunks of whole rows, by `LOAD DATA LOCAL INFILE` from memory or, where
//! the server forbids that, by INSERTs of many rows.
//!
//! A thread sends one chunk while the next is written. What became of a chunk's rows is looked at in `chunk`. Where several
//! sessions are asked for, and the table was made for this load, further threads send chunks on sessions of their own: InnoDB
//! takes rows on one core a session. Nobody knows the table before it is renamed, so each chunk is then a transaction of its
//! own, and no session waits for what another one holds.

use std::{
    sync::{
        Arc, Mutex, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use super::{
    chunk::{Chunk, Statement},
    client::Client,
    encode::{self, FieldRules, Form},
    infile::INFILE_NAME,
    libmariadb::Library,
    settings::Settings,
    stream::{fill, select},
};
use crate::{
    database::{
        Batch, Column, Connection, Dialect, Error, Layout, Purpose, Relation, Resources, Savepoint, WireFormat,
        WriteError, WriteLane, Writer,
        lines::{self, Lines},
    },
    odbc::Interrupt,
};

/// `LOAD DATA LOCAL INFILE`.
pub(super) struct LoadData;

/// INSERT with many rows.
pub(super) struct InsertValues;

/// Bytes of the first chunk, so that the server soon has something to do; each that follows has twice as many.
const FIRST_CHUNK_BYTES: usize = 256 << 10;

/// Bytes of a chunk for LOAD DATA; a statement each, and its rows are what a search for a failed row goes through.
const FILE_CHUNK_BYTES: usize = 4 << 20;

/// Bytes of an INSERT; longer ones gain nothing.
const VALUES_CHUNK_BYTES: usize = 1 << 20;

/// Chunks that go around: one is written, one waits, one is being sent; and one more for each further session.
const CHUNKS: usize = 3;

/// After so many chunks further sessions are opened, if they are asked for: a small table is in by then.
const CHUNKS_ALONE: usize = 4;

/// How often a thread that waits for a chunk looks whether another one has failed.
const LOOK_AROUND: Duration = Duration::from_millis(50);

/// Bytes of an INSERT beside its rows, and of the packet around it.
const STATEMENT_BYTES: usize = 64 * 1024;

/// So that the server waits between statements for a slow source (a year is the most that it takes), and counts notes,
/// such as the one for a rounded number, as warnings that can be looked at.
///
/// Within a statement it gives up soon: a LOAD's data is all there when it begins. After its session was killed, MariaDB
/// 10.11 was seen, twice in some forty times, to leave the client waiting for an answer, once for over a minute. That it
/// still reads from a client that has sent everything would explain it, and is not proven.
const SETUP: &str = "SET SESSION net_read_timeout = 30, wait_timeout = 31536000, sql_notes = 1, \
                     max_error_count = 64, autocommit = 1";

/// Statements belong to a transaction until it is ended.
const TRANSACTIONS: &str = "SET autocommit = 0";

/// What decides whether LOAD DATA LOCAL can be had; the second is Galera's.
const VARIABLES: &str = "SHOW VARIABLES WHERE variable_name IN ('local_infile', 'wsrep_load_data_splitting')";

/// How long an abandoned chunk may take before its statement is killed.
const ABANDON_PATIENCE: Duration = Duration::from_millis(300);

impl WriteLane for LoadData {
    fn name(&self) -> &'static str {
        "load_data"
    }

    fn offer(
        &self,
        connection: &Connection,
        _target: Option<&Relation>,
        _columns: &[Column],
    ) -> Result<String, String> {
        let library = Library::find(&connection.driver)?;
        Settings::of(&connection.settings, library.mariadb)?;
        let rows = connection
            .session
            .text_rows(VARIABLES, &[])
            .map_err(|error| error.to_string())?;
        let is_on = |name: &str| {
            rows.iter()
                .any(|row| row == &[Some(name.to_owned()), Some("ON".to_owned())])
        };
        if !is_on("local_infile") {
            return Err("the server's `local_infile` is off".to_owned());
        }
        if is_on("wsrep_load_data_splitting") {
            return Err("the server's `wsrep_load_data_splitting` would commit in between".to_owned());
        }
        Ok("LOAD DATA LOCAL INFILE from memory, through the client library that the ODBC driver links".to_owned())
    }

    fn takes_parts(&self, _connection: &Connection) -> Result<(), String> {
        Ok(())
    }

    fn wire_formats(&self, _connection: &Connection, columns: &[Column]) -> Vec<WireFormat> {
        let plain = columns.iter().all(FieldRules::takes_lines);
        Lines::of(columns)
            .filter(|_| plain)
            .map(|_| lines::FORMAT)
            .into_iter()
            .collect()
    }

    fn open(&self, connection: Connection, resources: &Resources) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(ChunkWriter::open(Form::File, connection, resources)?))
    }
}

impl WriteLane for InsertValues {
    fn name(&self) -> &'static str {
        "values"
    }

    fn offer(
        &self,
        connection: &Connection,
        _target: Option<&Relation>,
        _columns: &[Column],
    ) -> Result<String, String> {
        let library = Library::find(&connection.driver)?;
        Settings::of(&connection.settings, library.mariadb)?;
        Ok("INSERTs of many rows, through the client library that the ODBC driver links".to_owned())
    }

    fn takes_parts(&self, _connection: &Connection) -> Result<(), String> {
        Ok(())
    }

    fn open(&self, connection: Connection, resources: &Resources) -> Result<Box<dyn Writer>, Error> {
        Ok(Box::new(ChunkWriter::open(Form::Values, connection, resources)?))
    }
}

/// What a writer leaves for the next table's, which every statement is a transaction of its own for.
struct Left(Client);

struct ChunkWriter {
    form: Form,
    connection: Connection,
    dialect: &'static dyn Dialect,
    memory_bytes: usize,
    library: Library,
    settings: Settings,
    /// Most sessions that may load.
    sessions_max: usize,
    /// Those that have.
    sessions: usize,
    /// Not there while a load has it.
    client: Option<Client>,
    loading: Option<Loading>,
    /// What is loaded, and how: for another part of it.
    recipe: Option<Arc<Recipe>>,
    /// Raised to end a load that nobody waits for any more.
    interrupt: Interrupt,
    /// The table that was made on this connection to be loaded.
    created: Option<String>,
    last_statement: String,
    /// What the server said of each chunk.
    rows_taken: u64,
    rows_before_part: u64,
}

/// What stays the same for all parts of a load.
struct Recipe {
    statement: Statement,
    names: Vec<String>,
    rules: Vec<FieldRules>,
    chunk_bytes: usize,
    /// The most bytes of a statement's rows, and what the server calls the limit.
    bytes_max: Option<(usize, &'static str)>,
    /// Whether several sessions may load it, and each chunk is committed by itself.
    on_several_sessions: bool,
}

/// What the threads of a load have in common. It is theirs alone: with the last one its channels end.
struct Shared {
    recipe: Arc<Recipe>,
    full: Mutex<Receiver<Chunk>>,
    empty: SyncSender<Chunk>,
    /// Nobody waits for the rows any more, or a thread has failed.
    abandoned: AtomicBool,
}

/// Sends chunks on its session, and in the end gives that back with the number of rows.
type LoadThread = thread::JoinHandle<(Client, Result<u64, Error>)>;

/// A load that is under way.
struct Loading {
    /// The first one has the writer's own session.
    threads: Vec<LoadThread>,
    /// For further threads.
    shared: Weak<Shared>,
    full: SyncSender<Chunk>,
    empty: Receiver<Chunk>,
    /// Chunks that were sent in all.
    chunks: usize,
    /// Chunks that are with the threads.
    sent: usize,
    spare: Vec<Chunk>,
    chunk: Chunk,
    recipe: Arc<Recipe>,
    /// Bytes of the chunk that is being filled.
    fill_bytes: usize,
}

impl ChunkWriter {
    fn open(form: Form, connection: Connection, resources: &Resources) -> Result<ChunkWriter, Error> {
        let library = Library::find(&connection.driver).map_err(Error::Unsupported)?;
        let settings = Settings::of(&connection.settings, library.mariadb).map_err(Error::Unsupported)?;
        let dialect = connection.dialect;
        let interrupt = resources.interrupt.child();
        let left = connection.kept.take::<Left>().and_then(|Left(mut client)| {
            client.stop_with(&interrupt);
            client.answers().then_some(client)
        });
        let client = left.map_or_else(|| connect(library, &settings, dialect, &interrupt), Ok)?;
        Ok(ChunkWriter {
            form,
            connection,
            dialect,
            memory_bytes: resources.memory_bytes,
            library,
            settings,
            sessions_max: resources.sessions.max(1),
            sessions: 1,
            client: Some(client),
            loading: None,
            recipe: None,
            interrupt,
            created: None,
            last_statement: String::new(),
            rows_taken: 0,
            rows_before_part: 0,
        })
    }

    fn client(&mut self) -> Result<&mut Client, Error> {
        let missing = || Error::Unsupported("a statement came while rows are being loaded".to_owned());
        self.client.as_mut().ok_or_else(missing)
    }

    /// The LOAD DATA for these columns.
    fn load_statement(&mut self, target: &Relation, columns: &[Column]) -> Result<String, Error> {
        // A file has one character set. Where there are bytes it has none, and text that the server would have to
        // convert says so itself.
        let binary = columns.iter().any(|column| column.logical.layout() == Layout::Bytes);
        let is_text = |column: &Column| column.logical.layout() == Layout::Text;
        let mut utf8: Vec<String> = Vec::new();
        if binary && columns.iter().any(is_text) {
            let text = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
            let schema = target
                .schema
                .as_ref()
                .map_or("DATABASE()".to_owned(), |schema| text(schema));
            let sql = format!(
                "SELECT column_name FROM information_schema.columns WHERE table_schema = {schema} AND table_name = {} \
                 AND character_set_name IN ('utf8', 'utf8mb3', 'utf8mb4')",
                text(&target.name)
            );
            utf8 = self.client()?.query(&sql)?.into_iter().flatten().flatten().collect();
        }
        let mut fields = Vec::new();
        let mut set = Vec::new();
        for (position, column) in columns.iter().enumerate() {
            let name = self.dialect.quote(&column.name);
            let variable = format!("@dray_{position}");
            let expression = if column.declared.to_ascii_lowercase().starts_with("bit") {
                // As it is, the text's bytes would be the bits.
                format!("CAST({variable} AS UNSIGNED)")
            } else if binary && is_text(column) && !utf8.contains(&column.name) {
                format!("CONVERT({variable} USING utf8mb4)")
            } else {
                fields.push(name);
                continue;
            };
            fields.push(variable);
            set.push(format!("{name} = {expression}"));
        }
        let set = if set.is_empty() {
            String::new()
        } else {
            format!(" SET {}", set.join(", "))
        };
        Ok(format!(
            "LOAD DATA LOCAL INFILE '{INFILE_NAME}' INTO TABLE {} CHARACTER SET {} FIELDS TERMINATED BY '\\t' \
             ENCLOSED BY '' ESCAPED BY '\\\\' LINES STARTING BY '' TERMINATED BY '\\n' ({}){set}",
            self.dialect.quote_relation(target),
            if binary { "binary" } else { "utf8mb4" },
            fields.join(", ")
        ))
    }

    /// Starts the thread that sends the rows, from the first one on.
    fn start(&mut self, first_chunk_bytes: usize) -> Result<(), Error> {
        let Some(recipe) = self.recipe.clone() else {
            return Err(Error::Unsupported("a load came before its table was named".to_owned()));
        };
        let Some(client) = self.client.take() else {
            return Err(Error::Unsupported(
                "a second load came before the first had ended".to_owned(),
            ));
        };
        let (full, from_writer) = sync_channel::<Chunk>(1);
        let (to_writer, empty) = sync_channel::<Chunk>(CHUNKS + self.sessions_max);
        let shared = Arc::new(Shared {
            recipe: Arc::clone(&recipe),
            full: Mutex::new(from_writer),
            empty: to_writer,
            abandoned: AtomicBool::new(false),
        });
        self.loading = Some(Loading {
            shared: Arc::downgrade(&shared),
            threads: vec![spawn(client, shared)?],
            full,
            empty,
            chunks: 0,
            sent: 0,
            spare: (1..CHUNKS).map(|_| Chunk::default()).collect(),
            chunk: Chunk {
                first_row: 1,
                ..Chunk::default()
            },
            fill_bytes: first_chunk_bytes.min(recipe.chunk_bytes),
            recipe,
        });
        Ok(())
    }

    /// Opens the further sessions, once there are rows enough. Those that cannot be had are done without.
    fn open_further_sessions(&mut self) -> Result<(), Error> {
        let Some(loading) = &mut self.loading else {
            return Ok(());
        };
        if !loading.recipe.on_several_sessions || loading.chunks != CHUNKS_ALONE {
            return Ok(());
        }
        for _ in 1..self.sessions_max {
            let Some(shared) = loading.shared.upgrade() else {
                return Ok(());
            };
            let opened = connect(self.library, &self.settings, self.dialect, &self.interrupt)
                .and_then(|mut client| client.execute(TRANSACTIONS).map(|_| client));
            match opened {
                Ok(client) => loading.threads.push(spawn(client, shared)?),
                Err(error) if self.interrupt.is_raised() => return Err(error),
                Err(error) => {
                    tracing::debug!(event = "copy.no_further_session", error = %error, "loaded on fewer sessions");
                    break;
                }
            }
            loading.spare.push(Chunk::default());
        }
        self.sessions = self.sessions.max(loading.threads.len());
        Ok(())
    }

    /// Ends the load's threads and takes the connection back; the load's error, if it failed.
    fn take_back(&mut self) -> Result<(), Error> {
        let Some(loading) = self.loading.take() else {
            return Ok(());
        };
        // Without the channel the threads end after what they have.
        drop(loading.full);
        let mut ended = Ok(());
        for (number, thread) in loading.threads.into_iter().enumerate() {
            let result = match thread.join() {
                Ok((client, result)) => {
                    if number == 0 {
                        self.client = Some(client);
                    }
                    result.map(|rows| self.rows_taken += rows)
                }
                Err(_) => Err(Error::Unsupported(
                    "a thread that loads rows has ended by itself".to_owned(),
                )),
            };
            ended = ended.and(result);
        }
        ended
    }

    /// Hands the chunk to the thread and takes an empty one.
    fn send(&mut self) -> Result<(), Error> {
        let Some(loading) = &mut self.loading else {
            return Ok(());
        };
        let next = match loading.spare.pop() {
            Some(chunk) => Some(chunk),
            None => loading.empty.recv().ok().inspect(|_| loading.sent -= 1),
        };
        let Some(mut next) = next else {
            return self.ended_early();
        };
        loading.fill_bytes = (2 * loading.fill_bytes).min(loading.recipe.chunk_bytes);
        next.first_row = loading.chunk.first_row + loading.chunk.ends.len() as u64;
        let chunk = std::mem::replace(&mut loading.chunk, next);
        // A chunk of one long row is sent alone, and its memory given back before the next.
        let long = chunk.bytes.len() > 2 * loading.recipe.chunk_bytes;
        if loading.full.send(chunk).is_err() {
            return self.ended_early();
        }
        loading.chunks += 1;
        loading.sent += 1;
        while long && loading.sent > 0 {
            let Ok(mut back) = loading.empty.recv() else {
                return self.ended_early();
            };
            loading.sent -= 1;
            if back.bytes.capacity() > 2 * loading.recipe.chunk_bytes {
                back = Chunk::default();
            }
            loading.spare.push(back);
        }
        self.open_further_sessions()
    }

    /// The thread ends before its channel only if something failed.
    fn ended_early(&mut self) -> Result<(), Error> {
        self.take_back()?;
        Err(Error::Unsupported(
            "the thread that loads rows has ended early".to_owned(),
        ))
    }
}

impl Writer for ChunkWriter {
    fn begin(&mut self) -> Result<(), Error> {
        // Not START TRANSACTION, which the DDL that may follow would end for good.
        self.client()?.execute(TRANSACTIONS).map(drop)
    }

    fn execute(&mut self, sql: &str) -> Result<i64, Error> {
        sql.clone_into(&mut self.last_statement);
        let rows = self.client()?.execute(sql)?;
        Ok(i64::try_from(rows).unwrap_or(-1))
    }

    fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>, Error> {
        self.client()?.query(sql)
    }

    fn load_into(&mut self, target: &Relation, columns: &[Column], _wire: Option<WireFormat>) -> Result<(), Error> {
        let table = self.dialect.quote_relation(target);
        if self.last_statement.starts_with(&format!("CREATE TABLE {table} ")) {
            self.created = Some(table.clone());
        }
        let mut bytes_max = None;
        let sql = match self.form {
            Form::File => self.load_statement(target, columns)?,
            Form::Values => {
                let rows = self.client()?.query("SELECT @@max_allowed_packet")?;
                let bytes: Option<usize> = rows
                    .into_iter()
                    .flatten()
                    .flatten()
                    .next()
                    .and_then(|text| text.parse().ok());
                bytes_max = bytes.map(|bytes| (bytes.saturating_sub(STATEMENT_BYTES), "max_allowed_packet"));
                let names: Vec<String> = columns.iter().map(|column| self.dialect.quote(&column.name)).collect();
                format!("INSERT INTO {table} ({}) VALUES ", names.join(", "))
            }
        };
        let chunk_bytes = match self.form {
            Form::File => FILE_CHUNK_BYTES,
            Form::Values => VALUES_CHUNK_BYTES.min(bytes_max.map_or(usize::MAX, |(bytes, _)| bytes / 2)),
        };
        let on_several_sessions = self.sessions_max > 1 && self.created.is_some();
        // Of each session one is being sent, and as much lies in its client library.
        let part = if on_several_sessions {
            self.sessions_max + 2
        } else {
            CHUNKS
        };
        let mariadb = self.dialect.name() == super::MARIADB.name();
        self.recipe = Some(Arc::new(Recipe {
            statement: Statement {
                form: self.form,
                sql,
                dialect: self.dialect,
            },
            names: columns.iter().map(|column| column.name.clone()).collect(),
            rules: columns.iter().map(|column| FieldRules::of(column, mariadb)).collect(),
            chunk_bytes: chunk_bytes.min(self.memory_bytes / 16 * CHUNKS / part),
            bytes_max,
            on_several_sessions,
        }));
        self.start(FIRST_CHUNK_BYTES)
    }

    fn write(&mut self, batch: &Batch) -> Result<(), WriteError> {
        let mut lines = batch.wire.bytes.as_slice();
        for row in 0..batch.rows() {
            let Some(loading) = &mut self.loading else {
                return Err(Error::Unsupported("a batch came before its table was named".to_owned()).into());
            };
            let start = loading.chunk.bytes.len();
            if row < batch.wire.rows {
                let end = memchr::memchr(b'\n', lines).map_or(lines.len(), |end| end + 1);
                loading.chunk.bytes.extend_from_slice(&lines[..end]);
                lines = &lines[end..];
            } else {
                encode::row(self.form, batch, row, &loading.recipe.rules, &mut loading.chunk.bytes).map_err(
                    |(column, reason)| Error::Unreadable {
                        column: loading.recipe.names[column].clone(),
                        row: batch.first_row + row as u64,
                        reason,
                    },
                )?;
            }
            let bytes = loading.chunk.bytes.len() - start;
            if let Some((limit, name)) = loading.recipe.bytes_max.filter(|(limit, _)| bytes > *limit) {
                let limit = limit + STATEMENT_BYTES;
                let error = Error::RowTooLong { bytes, name, limit };
                return Err(WriteError { error, row: Some(row) });
            }
            if bytes > self.memory_bytes / 2 {
                let error = Error::OverMemoryLimit {
                    column: None,
                    row: Some(batch.first_row + row as u64),
                    bytes,
                    limit_bytes: self.memory_bytes / 2,
                };
                return Err(error.into());
            }
            if start > 0 && start + bytes > 2 * loading.recipe.chunk_bytes {
                // A long row goes alone.
                let tail = loading.chunk.bytes.split_off(start);
                self.send()?;
                let Some(loading) = &mut self.loading else { continue };
                loading.chunk.bytes = tail;
                loading.chunk.ends.push(bytes);
            } else {
                loading.chunk.ends.push(start + bytes);
            }
            if let Some(loading) = &self.loading
                && loading.chunk.bytes.len() >= loading.fill_bytes
            {
                self.send()?;
            }
        }
        Ok(())
    }

    fn finish(&mut self) -> Result<(), WriteError> {
        if self
            .loading
            .as_ref()
            .is_some_and(|loading| !loading.chunk.ends.is_empty())
        {
            self.send()?;
        }
        Ok(self.take_back()?)
    }

    fn begin_part(&mut self) -> Result<(), Error> {
        self.take_back()?;
        self.rows_before_part = self.rows_taken;
        self.client()?.execute(Savepoint::STANDARD.set)?;
        self.start(usize::MAX)
    }

    fn end_part(&mut self) -> Result<(), WriteError> {
        self.finish()
    }

    fn undo_part(&mut self) -> Result<(), Error> {
        // Its error is the one that led here.
        let _ = self.take_back();
        self.rows_taken = self.rows_before_part;
        let client = self.client()?;
        client.execute(Savepoint::STANDARD.undo)?;
        match client.warnings() {
            0 => Ok(()),
            // 1196: the rows of an engine without transactions stay.
            _ => Err(Error::Unsupported(
                "the server has not taken all rows of a part back: the table's engine has no transactions".to_owned(),
            )),
        }
    }

    fn rows_taken(&self) -> Option<u64> {
        Some(self.rows_taken)
    }

    fn sessions(&self) -> usize {
        self.sessions
    }

    fn read_back(
        &mut self,
        table: &Relation,
        columns: &[Column],
        batch_bytes: usize,
        take: &mut dyn FnMut(&Batch),
    ) -> Result<(), Error> {
        self.client()?;
        let Some(client) = self.client.take() else {
            return Ok(());
        };
        let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
        // What fails from here on ends the connection, and the server then undoes the transaction.
        let mut rows = client.stream(&select(self.dialect, columns, &self.dialect.quote_relation(table)))?;
        let (mut batch, mut rows_read) = (Batch::of(columns), 0);
        loop {
            fill(&mut rows, &names, &mut rows_read, &mut batch, batch_bytes)?;
            if batch.rows() == 0 {
                break;
            }
            take(&batch);
            batch.recycle(batch_bytes);
        }
        self.client = rows.into_client();
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Error> {
        self.client()?.execute("COMMIT").map(drop)
    }

    fn shield(&mut self) {
        if let Some(client) = &mut self.client {
            client.shield();
        }
    }

    fn rollback(&mut self) -> Result<(), Error> {
        if let Some(loading) = &self.loading {
            if let Some(shared) = loading.shared.upgrade() {
                shared.abandoned.store(true, Ordering::Relaxed);
            }
            // The chunk that is being sent may wait for a lock, which its statement is killed for.
            let began = Instant::now();
            let Some(Loading { full, threads, .. }) = self.loading.as_mut() else {
                return Ok(());
            };
            // Replaced by a channel that nobody listens to: the threads end after the chunk that they have.
            *full = sync_channel(0).0;
            while !threads.iter().all(thread::JoinHandle::is_finished) {
                if began.elapsed() > ABANDON_PATIENCE {
                    self.interrupt.raise();
                }
                thread::sleep(Duration::from_millis(5));
            }
            // Its error is the one that led here, or a consequence of ending it.
            let _ = self.take_back();
        }
        self.shield();
        let created = self.created.take();
        let Some(client) = &mut self.client else {
            return Ok(());
        };
        match created {
            // The server undoes a lost connection's transaction.
            _ if client.is_lost() => Ok(()),
            // Nobody else knows this table, and to undo a million rows takes as long as loading them.
            Some(table) => client.execute(&format!("DROP TABLE IF EXISTS {table}")).map(drop),
            None => client.execute("ROLLBACK").map(drop),
        }
    }

    fn into_connection(mut self: Box<Self>) -> Option<Connection> {
        if let Some(mut client) = self.client.take() {
            client.shield();
            // A failure is no loss: the next table connects anew.
            if client.execute("SET autocommit = 1").is_ok() {
                self.connection.kept.put(Left(client));
            }
        }
        Some(self.connection)
    }
}

/// A session for loads.
fn connect(
    library: Library,
    settings: &Settings,
    dialect: &dyn Dialect,
    interrupt: &Interrupt,
) -> Result<Client, Error> {
    let setup = dialect.session_setup(Purpose::Write).iter().copied().chain([SETUP]);
    Client::connect(library, settings, None, &setup.collect::<Vec<_>>(), interrupt)
}

/// Starts a thread that sends chunks on this session.
fn spawn(client: Client, shared: Arc<Shared>) -> Result<LoadThread, Error> {
    let thread = thread::Builder::new()
        .name("dray-load".to_owned())
        .spawn(move || load_all(client, &shared));
    thread.map_err(|error| Error::Unsupported(format!("no thread to load with: {error}")))
}

/// Sends chunks until there are no more, or one fails, here or in another thread.
fn load_all(mut client: Client, shared: &Shared) -> (Client, Result<u64, Error>) {
    client.enter_thread();
    let _watch = client.watch_for_end();
    let mut result = Ok(0);
    loop {
        let next = shared
            .full
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .recv_timeout(LOOK_AROUND);
        if shared.abandoned.load(Ordering::Relaxed) {
            break;
        }
        let mut chunk = match next {
            Ok(chunk) => chunk,
            Err(RecvTimeoutError::Timeout) => continue,
            Err(RecvTimeoutError::Disconnected) => break,
        };
        let sent = send(&mut client, &shared.recipe, &chunk);
        // Each row of it was counted.
        result = result.and_then(|rows| sent.map(|()| rows + chunk.ends.len() as u64));
        if result.is_err() {
            shared.abandoned.store(true, Ordering::Relaxed);
            break;
        }
        chunk.clear();
        // The writer may be done already.
        let _ = shared.empty.send(chunk);
    }
    client.leave_thread();
    (client, result)
}

fn send(client: &mut Client, recipe: &Recipe, chunk: &Chunk) -> Result<(), Error> {
    recipe.statement.send_chunk(client, chunk)?;
    match recipe.on_several_sessions {
        true => client.execute("COMMIT").map(drop),
        false => Ok(()),
    }
}
