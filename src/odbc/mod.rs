//! ODBC: driver lookup, connection strings, sessions, statements, cursors, parameters, diagnostics.
//!
//! Owns every call into the driver manager (unixODBC, linked into the native module) and the choice between its narrow
//! and wide entry points, which is made per connection. Knows no database product and no SQL: what text to send and
//! what an answer means is decided in `database/`.
//!
//! Why a layer of its own over `odbc-sys`: the linked unixODBC has no iconv and converts between narrow and wide calls
//! byte by byte, so each driver must be spoken to in the form that it exports; the well-known crate `odbc-api` makes
//! that choice at compile time for all drivers at once.

mod cursor;
mod diagnostics;
mod drivers;
mod encoding;
mod error;
mod ini;
mod interrupt;
mod library;
mod locale;
mod needs;
mod parameters;
mod session;
mod statement;

pub use crate::connection_string::ConnectionString;
pub use cursor::{Cell, CellKind, CellSpec, Cursor};
pub use diagnostics::Diagnostic;
pub use drivers::{Driver, DriverSearch};
pub use encoding::Encoding;
pub use error::Error;
pub use interrupt::{Interrupt, OnRaise};
pub use library::load_driver;
pub use needs::Lacking;
pub use parameters::{ExecuteError, ParameterArray, ParameterKind};
pub use session::{ConnectOptions, DriverConnection, GetDataRules, Quirks, Session};
pub use statement::{ResultColumn, Statement};
