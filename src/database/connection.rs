//! An open connection: how it finds its product, and what it says of an error.

use std::{
    any::Any,
    path::PathBuf,
    sync::{Mutex, PoisonError},
};

use odbc_sys::InfoType;

use super::{Class, DIALECTS, Dialect, Error, Purpose, RelaxedCommits, generic};
use crate::odbc::{self, ConnectOptions, ConnectionString, Diagnostic, DriverSearch, Interrupt, Session};

/// What a lane leaves with a connection for the next table: its own connection beside the ODBC session.
#[derive(Default)]
pub struct Kept(Mutex<Option<Box<dyn Any + Send>>>);

impl Kept {
    /// Leaves it, in the place of what was there.
    pub fn put(&self, thing: impl Any + Send) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Box::new(thing));
    }

    /// Takes it out, if there is one of this type.
    pub fn take<T: Any>(&self) -> Option<T> {
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match place.take()?.downcast::<T>() {
            Ok(thing) => Some(*thing),
            Err(other) => {
                *place = Some(other);
                None
            }
        }
    }
}

/// An open connection and the product behind it.
pub struct Connection {
    /// The session.
    pub session: Session,
    /// What is particular to the product.
    pub dialect: &'static dyn Dialect,
    /// The connection string as it was given.
    pub string: ConnectionString,
    /// Its attributes with those of its data source, for lanes that connect by other means.
    pub settings: ConnectionString,
    /// The driver's file.
    pub driver: PathBuf,
    /// What a lane has left here. Lanes that leave nothing do not look.
    pub kept: Kept,
    /// What a reader has found out about how it reads, for the reason of its lane: whoever has the connection back takes it.
    pub afterword: Option<String>,
    /// Whether whoever loads tables sees to it that they are safe before telling that they are there.
    pub relaxed: Option<RelaxedCommits>,
}

impl Connection {
    /// Connects and finds out which product it is.
    ///
    /// # Errors
    /// Those of [`Session::connect`], and of the statements that set up the session.
    pub fn open(
        search: &DriverSearch,
        string: &ConnectionString,
        purpose: Purpose,
        autocommit: bool,
        interrupt: &Interrupt,
    ) -> Result<Connection, Error> {
        let mut resolved = string.clone();
        let driver = search.resolve(&mut resolved)?;
        let settings = resolved.clone();
        let file = driver.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        // The product is known for sure only after connecting, its driver's options are needed before.
        let expected = DIALECTS.iter().find(|dialect| dialect.is_driver(&file)).copied();
        let mut options = ConnectOptions {
            autocommit: true,
            ..ConnectOptions::default()
        };
        if let Some(dialect) = expected {
            for (key, value) in dialect.connection_options(purpose) {
                resolved.set_default(key, value);
            }
            options.attributes = dialect.connection_attributes(purpose);
            options.structure = dialect.connection_structure(&mut resolved)?;
        }
        let session = Session::connect(search, &resolved, &options, interrupt).map_err(|mut error| {
            if let odbc::Error::Connect { diagnostics, hint } = &mut error {
                let hints = |diagnostic: &Diagnostic| expected.and_then(|dialect| dialect.connect_hint(diagnostic));
                *hint = diagnostics.iter().find_map(hints);
            }
            error
        })?;
        let dbms_name = session.info_text(InfoType::DbmsName)?;
        let is_product = |dialect: &&dyn Dialect| dialect.is_product(&dbms_name);
        let dialect = expected.filter(is_product);
        let dialect = dialect.or_else(|| DIALECTS.iter().copied().find(is_product));
        let dialect = dialect.unwrap_or(&generic::Generic);
        session.set_quirks(dialect.quirks());
        dialect.check_session(&session, &settings)?;
        for sql in dialect.session_setup(purpose) {
            session.execute(sql)?;
        }
        session.set_autocommit(autocommit || (purpose == Purpose::Read && dialect.reads_in_autocommit()))?;
        tracing::debug!(
            event = "database.connected",
            product = dialect.name(),
            dbms_name,
            ?purpose,
            "connected"
        );
        Ok(Connection {
            session,
            dialect,
            string: string.clone(),
            settings,
            driver,
            kept: Kept::default(),
            afterword: None,
            relaxed: None,
        })
    }

    /// Connects once more, for reading, to where this connection leads; what is done there is no part of its transaction.
    ///
    /// # Errors
    /// Those of [`Connection::open`].
    pub(crate) fn another(&self, interrupt: &Interrupt) -> Result<Connection, Error> {
        // The driver's file stands in the settings.
        Connection::open(
            &DriverSearch::default(),
            &self.settings,
            Purpose::Read,
            false,
            interrupt,
        )
    }

    /// What kind of trouble a failure of [`Connection::open`] is, as far as the driver's file tells which product it is.
    pub fn classify_opening(search: &DriverSearch, string: &ConnectionString, error: &Error) -> Class {
        let Some(diagnostic) = error.diagnostic() else {
            return Class::Other;
        };
        let file = search.resolve(&mut string.clone()).ok();
        let file = file.as_ref().and_then(|path| path.file_name()).unwrap_or_default();
        let file = file.to_string_lossy().to_lowercase();
        let dialect = DIALECTS.iter().find(|dialect| dialect.is_driver(&file));
        dialect.map_or_else(
            || Class::of_sqlstate(&diagnostic.sqlstate),
            |dialect| dialect.classify(diagnostic),
        )
    }

    /// An error that means that something is not possible, in words for a plan; or else the error, if it means that the
    /// connection is lost or that the work was told to stop.
    pub(crate) fn as_reason(&self, what: &str, error: Error) -> Result<String, Error> {
        match self.classify(&error) {
            _ if matches!(error, Error::Odbc(odbc::Error::Cancelled)) => Err(error),
            Class::ConnectionLost | Class::Cancelled => Err(error),
            _ => Ok(format!("{what}: {}", self.without_values(error))),
        }
    }

    /// What kind of trouble an error of this connection is.
    pub fn classify(&self, error: &Error) -> Class {
        error
            .diagnostic()
            .map_or(Class::Other, |diagnostic| self.dialect.classify(diagnostic))
    }

    /// The error without the cell values that its server's messages may repeat.
    pub fn without_values(&self, error: Error) -> Error {
        match error {
            Error::Odbc(odbc::Error::Call {
                function,
                mut diagnostics,
            }) => {
                for diagnostic in &mut diagnostics {
                    diagnostic.message = self.dialect.without_values(&diagnostic.message);
                }
                Error::Odbc(odbc::Error::Call { function, diagnostics })
            }
            Error::Client {
                function,
                mut diagnostic,
            } => {
                diagnostic.message = self.dialect.without_values(&diagnostic.message);
                Error::Client { function, diagnostic }
            }
            Error::Row { row, column, error } => Error::Row {
                row,
                column,
                error: Box::new(self.without_values(*error)),
            },
            other => other,
        }
    }
}
