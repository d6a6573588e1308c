//! What SQL Server's errors mean: their class, what helps against them, and what of a message is a cell's value.
//!
//! Numbers: Microsoft, "Database engine events and errors" and "Troubleshoot transient connection errors" (Azure SQL).
//! Drivers add their own, of the operating system (10054) or none.

use super::super::Class;
use crate::odbc::Diagnostic;

/// What kind of error a diagnostic record tells of.
pub(super) fn classify(diagnostic: &Diagnostic) -> Class {
    match diagnostic.native {
        1222 => Class::LockTimeout,
        // Deadlock, conflicting versions of a row.
        1205 | 3960 | 3961 | 41301 | 41302 | 41305 | 41325 => Class::Conflict,
        // Paused and waking up; more is asked of the service than it does at once.
        40613 | 42108 | 42109 | 40501 | 10928 | 10929 | 49918 | 49919 | 49920 => Class::NotReady,
        // The service moves the database; a connection that broke.
        40197 | 40143 | 40540 | 4221 | 64 | 121 | 233 | 10053 | 10054 | 10060 | 10061 => Class::ConnectionLost,
        // Disk, log or memory is full.
        40544 | 40549..=40553 | 701 | 802 | 1101 | 1105 | 1204 | 8645 | 9002 | 17300 | 17809 => Class::Resources,
        4060 | 4064 | 18450..=18470 | 18486..=18488 | 40532 | 40615 | 40914 | 47073 => Class::AccessDenied,
        229 | 230 | 262 | 297 | 300 | 378 | 916 | 10011 | 15247 => Class::PermissionDenied,
        207 | 208 | 911 | 1088 | 2812 | 3701 | 4701 | 4902 | 15225 => Class::NotFound,
        3726 | 3729 | 3732 | 4712 | 5074 => Class::InUse,
        515 | 547 | 2601 | 2627 => Class::Constraint,
        // Conversions and lengths, whose SQLSTATE is not always one of them.
        220
        | 232
        | 241..=245
        | 248
        | 295
        | 296
        | 2628
        | 8023
        | 8114
        | 8115
        | 8152
        | 8169
        | 9400..=9499
        | 13608
        | 13609 => Class::Data,
        // FreeTDS gives its own faults SQLSTATEs of classes that say nothing.
        _ if diagnostic.message.contains("Unexpected EOF from the server") => Class::ConnectionLost,
        // All that it says of a line that breaks while it sends.
        0 if diagnostic.message.ends_with("Unknown error") => Class::ConnectionLost,
        // Babelfish has a number of its own for this, and no 208, where a name has a schema.
        _ if diagnostic.message.contains("relation \"") && diagnostic.message.ends_with("\" does not exist") => {
            Class::NotFound
        }
        _ => Class::of_sqlstate(&diagnostic.sqlstate),
    }
}

/// What helps against a connection that was refused.
pub(super) fn connect_hint(diagnostic: &Diagnostic) -> Option<&'static str> {
    let message = diagnostic.message.to_lowercase();
    let says = |words: &str| message.contains(words);
    Some(match diagnostic.native {
        40615 => {
            "allow the node's address in the firewall rules of the server, or let the pool reach it by a virtual network \
             rule or a private endpoint"
        }
        40914 => "allow the pool's subnet in the virtual network rules of the server",
        40613 | 42108 | 42109 => {
            "a serverless database that was paused takes about a minute to wake up: the first connection wakes it, try \
             again then"
        }
        4060 => "see that the database has this name, and that the login has a user in it",
        18456 if says("token") => {
            "see that the identity has a user in the database: `CREATE USER [name] FROM EXTERNAL PROVIDER`"
        }
        _ if says("certificate") || says("self-signed") || says("self signed") => {
            "driver 18 encrypts and checks the certificate unless told otherwise: have the node trust who signed it, or, on \
             a network that is trusted, set `TrustServerCertificate=yes`"
        }
        _ if says("encryption not supported")
            || says("server does not support ssl")
            || says("unsupported protocol") =>
        {
            "the server has no TLS that the driver takes; on a network that is trusted, `Encrypt=no` goes without"
        }
        _ => return None,
    })
}

/// A message without the values that the server repeats.
pub(super) fn without_values(message: &str) -> String {
    let mut text = message.to_owned();
    // What opens a value, and what closes it; without that it goes on to the end.
    const REPEATED: [(&str, &str); 9] = [
        // 2601, 2627.
        ("duplicate key value is (", "\0"),
        // 2628.
        ("Truncated value: '", "\0"),
        // 220, 232: `Arithmetic overflow error for data type tinyint, value = 398.`
        (", value = ", "\0"),
        // 244, 248: `The conversion of the nvarchar value '…' overflowed an int column`.
        ("value '", "' overflowed"),
        // 245.
        ("value '", "' to data type"),
        // 8115, 8169 and 241 have none. 13608, 9400 and on: a letter of the text, or a name in it.
        ("Unexpected character '", "' is found"),
        ("parsing: line ", "\0"),
        // Babelfish hands on what PostgreSQL says.
        (": \"", "\""),
        ("=(", ") "),
    ];
    for (open, close) in REPEATED {
        let Some(start) = text.find(open).map(|start| start + open.len()) else {
            continue;
        };
        let rest = &text[start..];
        match rest.rfind(close) {
            Some(length) => text.replace_range(start..start + length, "…"),
            None if close == "\0" => text.replace_range(start.., "…"),
            None => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagnostic(sqlstate: &str, native: i32, message: &str) -> Diagnostic {
        Diagnostic {
            sqlstate: sqlstate.to_owned(),
            native,
            message: message.to_owned(),
        }
    }

    #[test]
    fn numbers_tell_more_than_their_sqlstates() {
        for (sqlstate, native, expected) in [
            ("40001", 1205, Class::Conflict),
            ("HY000", 40613, Class::NotReady),
            ("42000", 1222, Class::LockTimeout),
            ("08S01", 10054, Class::ConnectionLost),
            ("HYT00", 0, Class::Cancelled),
            ("08001", -1, Class::ConnectionLost),
            ("HY000", 40501, Class::NotReady),
            ("HY000", 10928, Class::NotReady),
            ("HY000", 10929, Class::NotReady),
            ("HY000", 49918, Class::NotReady),
            ("HY000", 49919, Class::NotReady),
            ("HY000", 49920, Class::NotReady),
            ("HY000", 40197, Class::ConnectionLost),
            ("HY000", 10053, Class::ConnectionLost),
            ("HY000", 10060, Class::ConnectionLost),
            ("37000", 4060, Class::AccessDenied),
            ("HY000", 40544, Class::Resources),
            ("28000", 18456, Class::AccessDenied),
            ("HY000", 40615, Class::AccessDenied),
            ("42000", 229, Class::PermissionDenied),
            ("42S02", 208, Class::NotFound),
            ("42000", 3726, Class::InUse),
            ("23000", 2627, Class::Constraint),
            ("42000", 8114, Class::Data),
            ("22001", 2628, Class::Data),
            ("42000", 102, Class::Syntax),
        ] {
            assert_eq!(classify(&diagnostic(sqlstate, native, "")), expected, "{native}");
        }
        let missing = diagnostic("42000", 33_557_097, "relation \"master_dbo.t\" does not exist");
        assert_eq!(classify(&missing), Class::NotFound);
    }

    #[test]
    fn messages_lose_the_values_that_the_server_repeats() {
        for (message, expected) in [
            (
                "Violation of PRIMARY KEY constraint 'PK_t'. Cannot insert duplicate key in object 'dbo.t'. The duplicate \
                 key value is (secret, 1)",
                "Violation of PRIMARY KEY constraint 'PK_t'. Cannot insert duplicate key in object 'dbo.t'. The duplicate \
                 key value is (…",
            ),
            (
                "String or binary data would be truncated in table 'd.dbo.t', column 'c'. Truncated value: 'it's secret'",
                "String or binary data would be truncated in table 'd.dbo.t', column 'c'. Truncated value: '…",
            ),
            (
                "Conversion failed when converting the nvarchar value 'it's secret' to data type int",
                "Conversion failed when converting the nvarchar value '…' to data type int",
            ),
            (
                "The conversion of the varchar value 'secret' overflowed an int column",
                "The conversion of the varchar value '…' overflowed an int column",
            ),
            (
                "Arithmetic overflow error for data type tinyint, value = 398.",
                "Arithmetic overflow error for data type tinyint, value = …",
            ),
            (
                "Arithmetic overflow error for type int, value = 2147483648123.500000.",
                "Arithmetic overflow error for type int, value = …",
            ),
            ("Invalid column name 'x'", "Invalid column name 'x'"),
            (
                "invalid input syntax for type integer: \"secret\"",
                "invalid input syntax for type integer: \"…\"",
            ),
        ] {
            assert_eq!(without_values(message), expected);
        }
    }

    #[test]
    fn the_classic_failures_say_what_to_set() {
        let hint = |native, message| connect_hint(&diagnostic("08001", native, message)).unwrap_or_default();
        let untrusted =
            "SSL Provider: [error:0A000086:SSL routines::certificate verify failed:self-signed certificate]";
        assert!(hint(-1, untrusted).contains("TrustServerCertificate=yes"));
        let shut = "Cannot open server 's' requested by the login. Client with IP address '203.0.113.7' is not allowed";
        assert!(hint(40615, shut).contains("firewall"));
        assert!(hint(40613, "Database 'd' on server 's' is not currently available").contains("wake"));
        assert_eq!(hint(18456, "Login failed for user 'u'"), "");
    }
}
