//! Python values as parameters, and values of a result as Python objects; each exact or refused.

use dray::database::{
    LogicalType, Value,
    script::{Owned, Parameters, integer_parameter},
    temporal::{Date, OffsetTimestamp, Time, Timestamp},
};
use pyo3::{
    exceptions::{PyTypeError, PyValueError},
    prelude::*,
    types::{PyBool, PyBytes, PyFloat, PyInt, PyString},
};

/// Appends a Python value as a parameter.
///
/// # Errors
/// `TypeError` for a type that no database has; `ValueError` for a value that does not fit its type there.
pub fn push_parameter(value: &Bound<'_, PyAny>, parameters: &mut Parameters) -> PyResult<()> {
    let py = value.py();
    let is = |module: &str, class: &str| -> PyResult<bool> { value.is_instance(&py.import(module)?.getattr(class)?) };
    if value.is_none() {
        parameters.push(LogicalType::TEXT, Value::Null);
    } else if let Ok(value) = value.cast::<PyBool>() {
        parameters.push(LogicalType::Boolean, Value::I64(i64::from(value.is_true())));
    } else if value.is_instance_of::<PyInt>() {
        // Through `int`, so that an IntEnum does not print its name.
        let digits = py
            .get_type::<PyInt>()
            .call_method1("__repr__", (value,))?
            .extract::<String>()?;
        integer_parameter(parameters, &digits).map_err(|error| PyValueError::new_err(error.to_string()))?;
    } else if let Ok(value) = value.cast::<PyFloat>() {
        parameters.push(LogicalType::Float { bits: 64 }, Value::F64(value.value()));
    } else if value.is_instance_of::<PyString>() {
        parameters.push(LogicalType::TEXT, Value::Text(&value.extract::<String>()?));
    } else if is("builtins", "bytes")? || is("builtins", "bytearray")? || is("builtins", "memoryview")? {
        let bytes = py.get_type::<PyBytes>().call1((value,))?;
        parameters.push(LogicalType::BYTES, Value::Bytes(bytes.extract::<&[u8]>()?));
    } else if is("decimal", "Decimal")? {
        let digits: String = value.call_method1("__format__", ("f",))?.extract()?;
        if !value.call_method0("is_finite")?.is_truthy()? {
            return Err(PyValueError::new_err(
                "a Decimal that is NaN or infinite is no parameter",
            ));
        }
        parameters.push(LogicalType::DECIMAL, Value::Decimal(&digits));
    } else if is("datetime", "datetime")? {
        push_datetime(value, parameters)?;
    } else if is("datetime", "date")? {
        let text: String = value.call_method0("isoformat")?.extract()?;
        let date = Date::parse(&text).ok_or_else(|| PyValueError::new_err("malformed date"))?;
        parameters.push(LogicalType::Date, Value::Date(date));
    } else if is("datetime", "time")? {
        if !value.getattr("tzinfo")?.is_none() {
            return Err(PyTypeError::new_err("a time with a time zone is no parameter"));
        }
        let text: String = value.call_method0("isoformat")?.extract()?;
        let time = Time::parse(&text).ok_or_else(|| PyValueError::new_err("malformed time"))?;
        parameters.push(LogicalType::Time { digits: 6, span: false }, Value::Time(time));
    } else if is("datetime", "timedelta")? {
        parameters.push(LogicalType::Time { digits: 6, span: true }, Value::Time(span(value)?));
    } else if is("uuid", "UUID")? {
        parameters.push(LogicalType::Uuid, Value::Text(&value.str()?.extract::<String>()?));
    } else {
        let class = value.get_type().qualname()?.extract::<String>()?;
        return Err(PyTypeError::new_err(format!(
            "a value of type `{class}` is no parameter of a statement"
        )));
    }
    Ok(())
}

fn push_datetime(value: &Bound<'_, PyAny>, parameters: &mut Parameters) -> PyResult<()> {
    let text: String = value.call_method1("isoformat", (" ",))?.extract()?;
    // `utcoffset` and not `tzinfo`: a zone may say that it has none.
    if value.call_method0("utcoffset")?.is_none() {
        let timestamp = Timestamp::parse(&text).ok_or_else(|| PyValueError::new_err("malformed datetime"))?;
        parameters.push(LogicalType::Timestamp { digits: 6 }, Value::Timestamp(timestamp));
    } else {
        let instant = OffsetTimestamp::parse(&text).ok_or_else(|| {
            PyValueError::new_err("the datetime's offset has a fraction of a second, or leaves year 1 to 9999")
        })?;
        parameters.push(
            LogicalType::Instant {
                digits: 6,
                epoch_32: false,
            },
            Value::Instant(instant),
        );
    }
    Ok(())
}

/// A timedelta as a span.
fn span(value: &Bound<'_, PyAny>) -> PyResult<Time> {
    let part = |name: &str| value.getattr(name)?.extract::<i64>();
    let microseconds = i128::from(part("days")?) * 86_400_000_000
        + i128::from(part("seconds")?) * 1_000_000
        + i128::from(part("microseconds")?);
    let (negative, microseconds) = (microseconds < 0, microseconds.unsigned_abs());
    let seconds = microseconds / 1_000_000;
    let hour = u16::try_from(seconds / 3_600).ok().filter(|hour| *hour <= 999);
    Ok(Time {
        negative,
        hour: hour.ok_or_else(|| PyValueError::new_err("a timedelta of more than 999 hours is no parameter"))?,
        minute: (seconds / 60 % 60) as u16,
        second: (seconds % 60) as u16,
        nanosecond: (microseconds % 1_000_000 * 1_000) as u32,
    })
}

/// A value of a result as a Python object.
///
/// # Errors
/// `ValueError` for a fraction of a second beyond microseconds, and for dates before the year 1, infinite or zero, which
/// Python's types do not hold.
pub fn to_python<'py>(py: Python<'py>, value: Owned) -> PyResult<Bound<'py, PyAny>> {
    let datetime = || py.import("datetime");
    Ok(match value {
        Owned::Null => py.None().into_bound(py),
        Owned::Boolean(value) => value.into_pyobject(py)?.to_owned().into_any(),
        Owned::Integer(value) => value.into_pyobject(py)?.into_any(),
        Owned::BigInteger(digits) => py.get_type::<PyInt>().call1((digits,))?,
        Owned::Decimal(digits) => py.import("decimal")?.getattr("Decimal")?.call1((digits,))?,
        Owned::Float(value) => value.into_pyobject(py)?.into_any(),
        Owned::Text(text) => text.into_pyobject(py)?.into_any(),
        Owned::Bytes(bytes) => PyBytes::new(py, &bytes).into_any(),
        Owned::Uuid(text) => py.import("uuid")?.getattr("UUID")?.call1((text,))?,
        Owned::Date(date) => {
            let Date { year, month, day } = in_python(date)?;
            datetime()?.getattr("date")?.call1((year, month, day))?
        }
        Owned::Time(time) if time.is_of_day() => {
            let parts = (time.hour, time.minute, time.second, microsecond(time)?);
            datetime()?.getattr("time")?.call1(parts)?
        }
        Owned::Time(time) => {
            let seconds = i64::from(time.hour) * 3_600 + i64::from(time.minute) * 60 + i64::from(time.second);
            let delta = datetime()?
                .getattr("timedelta")?
                .call1((0, seconds, microsecond(time)?))?;
            if time.negative { delta.neg()? } else { delta }
        }
        Owned::Timestamp(timestamp) => at(py, timestamp, py.None().into_bound(py))?,
        Owned::Instant(instant) => {
            let module = datetime()?;
            let zone = match instant.offset_minutes {
                0 => module.getattr("timezone")?.getattr("utc")?,
                minutes => {
                    let offset = module.getattr("timedelta")?.call1((0, i64::from(minutes) * 60))?;
                    module.getattr("timezone")?.call1((offset,))?
                }
            };
            at(py, instant.local, zone)?
        }
    })
}

fn at<'py>(py: Python<'py>, timestamp: Timestamp, zone: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let (date, time) = (in_python(timestamp.date)?, timestamp.time);
    let parts = (
        date.year,
        date.month,
        date.day,
        time.hour,
        time.minute,
        time.second,
        microsecond(time)?,
        zone,
    );
    py.import("datetime")?.getattr("datetime")?.call1(parts)
}

/// The date, if Python's types hold it.
fn in_python(date: Date) -> PyResult<Date> {
    match date.is_day() && date.year >= 1 {
        true => Ok(date),
        false => Err(PyValueError::new_err(
            "a date is before the year 1, infinite or zero, which Python's types do not hold",
        )),
    }
}

fn microsecond(time: Time) -> PyResult<u32> {
    match time.nanosecond % 1_000 {
        0 => Ok(time.nanosecond / 1_000),
        _ => Err(PyValueError::new_err(
            "a time has more than the six digits of a second that Python's types hold",
        )),
    }
}
