//! The three structures of Arrow's C data and C stream interfaces, as <https://arrow.apache.org/docs/format/> lays them
//! out, and who may free what.
//!
//! Written here and not taken from arrow-rs: the interface is frozen, and the crates that its `ffi_stream` needs (seventeen,
//! a calendar and big integers among them) made a module of 0.3 MB larger by 0.57 MB. Knows memory and lifetimes, and no
//! types: formats are texts that others write and read (`types`).

#![allow(unsafe_code)]

use std::{
    any::Any,
    ffi::{CStr, CString, c_char, c_int, c_void},
    panic::{AssertUnwindSafe, catch_unwind},
    ptr::{null, null_mut},
};

/// `struct ArrowSchema`: the type of an array, or of a stream's arrays.
#[repr(C)]
pub struct ArrowSchema {
    format: *const c_char,
    name: *const c_char,
    metadata: *const c_char,
    flags: i64,
    n_children: i64,
    children: *mut *mut ArrowSchema,
    dictionary: *mut ArrowSchema,
    release: Option<unsafe extern "C" fn(*mut ArrowSchema)>,
    private_data: *mut c_void,
}

/// `struct ArrowArray`: values.
#[repr(C)]
pub struct ArrowArray {
    length: i64,
    null_count: i64,
    offset: i64,
    n_buffers: i64,
    n_children: i64,
    buffers: *mut *const c_void,
    children: *mut *mut ArrowArray,
    dictionary: *mut ArrowArray,
    release: Option<unsafe extern "C" fn(*mut ArrowArray)>,
    private_data: *mut c_void,
}

/// `struct ArrowArrayStream`: arrays of one type, one after the other.
#[repr(C)]
pub struct ArrowArrayStream {
    get_schema: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowSchema) -> c_int>,
    get_next: Option<unsafe extern "C" fn(*mut ArrowArrayStream, *mut ArrowArray) -> c_int>,
    get_last_error: Option<unsafe extern "C" fn(*mut ArrowArrayStream) -> *const c_char>,
    release: Option<unsafe extern "C" fn(*mut ArrowArrayStream)>,
    private_data: *mut c_void,
}

/// The flag of a field that may be NULL.
const NULLABLE: i64 = 2;

// SAFETY: the interface lets structures move between threads; only their owner uses them.
unsafe impl Send for ArrowSchema {}
// SAFETY: as above.
unsafe impl Send for ArrowArray {}
// SAFETY: as above.
unsafe impl Send for ArrowArrayStream {}

impl ArrowSchema {
    const fn empty() -> Self {
        ArrowSchema {
            format: null(),
            name: null(),
            metadata: null(),
            flags: 0,
            n_children: 0,
            children: null_mut(),
            dictionary: null_mut(),
            release: None,
            private_data: null_mut(),
        }
    }
}

impl ArrowArray {
    const fn empty() -> Self {
        ArrowArray {
            length: 0,
            null_count: 0,
            offset: 0,
            n_buffers: 0,
            n_children: 0,
            buffers: null_mut(),
            children: null_mut(),
            dictionary: null_mut(),
            release: None,
            private_data: null_mut(),
        }
    }
}

impl ArrowArrayStream {
    const fn empty() -> Self {
        ArrowArrayStream {
            get_schema: None,
            get_next: None,
            get_last_error: None,
            release: None,
            private_data: null_mut(),
        }
    }
}

impl Drop for ArrowSchema {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: it has not been released, else `release` would be NULL; whoever filled it in set it.
            unsafe { release(self) };
        }
    }
}

impl Drop for ArrowArray {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: as for a schema.
            unsafe { release(self) };
        }
    }
}

impl Drop for ArrowArrayStream {
    fn drop(&mut self) {
        if let Some(release) = self.release {
            // SAFETY: as for a schema.
            unsafe { release(self) };
        }
    }
}

// ---------------------------------------------------------------------------------------------------------- out

/// A field as it is handed out.
pub struct Field {
    /// Its name; a U+0000 in it ends it.
    pub name: String,
    /// The format string of its type.
    pub format: String,
    /// Whether it may be NULL.
    pub nullable: bool,
    /// What is said of it beside its type.
    pub metadata: Vec<(&'static str, String)>,
}

struct SchemaOwned {
    _format: CString,
    _name: CString,
    _metadata: Vec<u8>,
    children: Vec<*mut ArrowSchema>,
}

/// The type of a stream of record batches with these fields.
pub fn schema_of(fields: &[Field]) -> ArrowSchema {
    let children = fields.iter().map(|field| {
        Box::into_raw(Box::new(schema(
            &field.format,
            &field.name,
            &field.metadata,
            if field.nullable { NULLABLE } else { 0 },
            Vec::new(),
        )))
    });
    schema("+s", "", &[], 0, children.collect())
}

fn schema(
    format: &str,
    name: &str,
    metadata: &[(&'static str, String)],
    flags: i64,
    children: Vec<*mut ArrowSchema>,
) -> ArrowSchema {
    let text = |text: &str| CString::new(text.split('\0').next().unwrap_or_default()).unwrap_or_default();
    // Counts and lengths in the machine's byte order, each text after its length.
    let mut packed = Vec::new();
    if !metadata.is_empty() {
        packed.extend_from_slice(&(metadata.len() as i32).to_ne_bytes());
        for text in metadata.iter().flat_map(|(key, value)| [*key, value.as_str()]) {
            packed.extend_from_slice(&(text.len() as i32).to_ne_bytes());
            packed.extend_from_slice(text.as_bytes());
        }
    }
    let mut owned = Box::new(SchemaOwned {
        _format: text(format),
        _name: text(name),
        _metadata: packed,
        children,
    });
    ArrowSchema {
        format: owned._format.as_ptr(),
        name: owned._name.as_ptr(),
        metadata: match owned._metadata.is_empty() {
            true => null(),
            false => owned._metadata.as_ptr().cast(),
        },
        flags,
        n_children: owned.children.len() as i64,
        children: owned.children.as_mut_ptr(),
        dictionary: null_mut(),
        release: Some(release_schema),
        private_data: Box::into_raw(owned).cast(),
    }
}

unsafe extern "C" fn release_schema(schema: *mut ArrowSchema) {
    // SAFETY: the caller hands over a schema that `schema` above made and that was not released yet: `private_data` and the
    // children are boxes of ours. Dropping a child releases it, unless the consumer has moved it out.
    unsafe {
        let owned = Box::from_raw((*schema).private_data.cast::<SchemaOwned>());
        for child in &owned.children {
            drop(Box::from_raw(*child));
        }
        (*schema).release = None;
        (*schema).private_data = null_mut();
    }
}

/// Memory that an array points into.
pub struct Buffer {
    pointer: *const c_void,
    _owner: Box<dyn Any + Send>,
}

impl<T: Send + 'static> From<Vec<T>> for Buffer {
    fn from(values: Vec<T>) -> Self {
        Buffer {
            // The values stay where they are as the vector moves.
            pointer: values.as_ptr().cast(),
            _owner: Box::new(values),
        }
    }
}

/// A column of a record batch as it is handed out.
pub struct Column {
    /// How many of its rows are NULL.
    pub nulls: usize,
    /// What its type's layout asks for, in order; no validity where nothing is NULL.
    pub buffers: Vec<Option<Buffer>>,
}

struct ArrayOwned {
    _buffers: Vec<Option<Buffer>>,
    pointers: Vec<*const c_void>,
    children: Vec<*mut ArrowArray>,
}

/// A record batch of so many rows.
pub fn batch_of(rows: usize, columns: Vec<Column>) -> ArrowArray {
    let children = columns.into_iter().map(|column| {
        let child = array(rows, column.nulls, column.buffers, Vec::new());
        Box::into_raw(Box::new(child))
    });
    array(rows, 0, vec![None], children.collect())
}

fn array(rows: usize, nulls: usize, buffers: Vec<Option<Buffer>>, children: Vec<*mut ArrowArray>) -> ArrowArray {
    let pointers = buffers
        .iter()
        .map(|buffer| buffer.as_ref().map_or(null(), |buffer| buffer.pointer))
        .collect();
    let mut owned = Box::new(ArrayOwned {
        _buffers: buffers,
        pointers,
        children,
    });
    ArrowArray {
        length: rows as i64,
        null_count: nulls as i64,
        offset: 0,
        n_buffers: owned.pointers.len() as i64,
        n_children: owned.children.len() as i64,
        buffers: owned.pointers.as_mut_ptr(),
        children: owned.children.as_mut_ptr(),
        dictionary: null_mut(),
        release: Some(release_array),
        private_data: Box::into_raw(owned).cast(),
    }
}

unsafe extern "C" fn release_array(array: *mut ArrowArray) {
    // SAFETY: as in `release_schema`.
    unsafe {
        let owned = Box::from_raw((*array).private_data.cast::<ArrayOwned>());
        for child in &owned.children {
            drop(Box::from_raw(*child));
        }
        (*array).release = None;
        (*array).private_data = null_mut();
    }
}

/// Why a stream has no next batch.
pub struct Failure {
    /// A number of errno.h.
    pub errno: c_int,
    /// In words.
    pub message: String,
}

/// What is behind a stream that is handed out.
pub trait Producer: Send {
    /// The type of its batches.
    fn schema(&mut self) -> ArrowSchema;

    /// The next batch, `None` after the last.
    ///
    /// # Errors
    /// What the consumer is told.
    fn next_batch(&mut self) -> Result<Option<ArrowArray>, Failure>;
}

struct StreamOwned {
    producer: Box<dyn Producer>,
    last_error: Option<CString>,
}

/// A stream of what the producer gives; dropped with it when the consumer releases the stream.
pub fn stream_of(producer: Box<dyn Producer>) -> ArrowArrayStream {
    let owned = StreamOwned {
        producer,
        last_error: None,
    };
    ArrowArrayStream {
        get_schema: Some(get_schema),
        get_next: Some(get_next),
        get_last_error: Some(get_last_error),
        release: Some(release_stream),
        private_data: Box::into_raw(Box::new(owned)).cast(),
    }
}

/// Runs a callback's work; no panic may reach the C code that called.
fn answer(owned: &mut StreamOwned, work: impl FnOnce(&mut dyn Producer) -> Result<(), Failure>) -> c_int {
    owned.last_error = None;
    let done = catch_unwind(AssertUnwindSafe(|| work(owned.producer.as_mut())));
    let failure = match done {
        Ok(Ok(())) => return 0,
        Ok(Err(failure)) => failure,
        Err(_) => Failure {
            errno: libc::EIO,
            message: "dray has panicked".to_owned(),
        },
    };
    owned.last_error = CString::new(failure.message.replace('\0', "")).ok();
    failure.errno
}

unsafe extern "C" fn get_schema(stream: *mut ArrowArrayStream, out: *mut ArrowSchema) -> c_int {
    // SAFETY: the consumer calls for a stream of `stream_of` that it has not released, one call at a time, and lends room
    // for a schema whose content means nothing yet.
    unsafe {
        let owned = &mut *(*stream).private_data.cast::<StreamOwned>();
        answer(owned, |producer| {
            out.write(producer.schema());
            Ok(())
        })
    }
}

unsafe extern "C" fn get_next(stream: *mut ArrowArrayStream, out: *mut ArrowArray) -> c_int {
    // SAFETY: as in `get_schema`. The end is an array that is released already.
    unsafe {
        let owned = &mut *(*stream).private_data.cast::<StreamOwned>();
        answer(owned, |producer| {
            out.write(producer.next_batch()?.unwrap_or(ArrowArray::empty()));
            Ok(())
        })
    }
}

unsafe extern "C" fn get_last_error(stream: *mut ArrowArrayStream) -> *const c_char {
    // SAFETY: as in `get_schema`; the text lives until the next call.
    unsafe {
        let owned = &*(*stream).private_data.cast::<StreamOwned>();
        owned.last_error.as_ref().map_or(null(), |text| text.as_ptr())
    }
}

unsafe extern "C" fn release_stream(stream: *mut ArrowArrayStream) {
    // SAFETY: as in `get_schema`; it is the last call.
    unsafe {
        let owned = Box::from_raw((*stream).private_data.cast::<StreamOwned>());
        (*stream).release = None;
        (*stream).private_data = null_mut();
        let _ = catch_unwind(AssertUnwindSafe(move || drop(owned)));
    }
}

// ----------------------------------------------------------------------------------------------------------- in

/// Record batches that somebody else makes.
pub struct Incoming {
    schema: ArrowSchema,
    batches: Batches,
}

enum Batches {
    Stream(ArrowArrayStream),
    One(Option<ArrowArray>),
}

impl Incoming {
    /// Takes over a stream, and leaves a released one in its place.
    ///
    /// # Safety
    /// `stream` points to a `struct ArrowArrayStream` that follows the C stream interface, and nobody else uses it.
    ///
    /// # Errors
    /// It is used up, or cannot tell its type.
    pub unsafe fn take_stream(stream: *mut c_void) -> Result<Incoming, String> {
        // SAFETY: the caller's promise.
        let mut stream = unsafe { stream.cast::<ArrowArrayStream>().replace(ArrowArrayStream::empty()) };
        let (Some(get_schema), Some(_)) = (stream.get_schema, stream.release) else {
            return Err("the stream is used up".to_owned());
        };
        let mut schema = ArrowSchema::empty();
        // SAFETY: the stream is not released, and there is room for a schema.
        let errno = unsafe { get_schema(&mut stream, &mut schema) };
        if errno != 0 {
            return Err(stream.error(errno));
        }
        Ok(Incoming {
            schema,
            batches: Batches::Stream(stream),
        })
    }

    /// Takes over one array with its type, and leaves released ones in their places.
    ///
    /// # Safety
    /// The pointers are to a `struct ArrowSchema` and a `struct ArrowArray` of that type that follow the C data interface,
    /// and nobody else uses them.
    ///
    /// # Errors
    /// They are used up.
    pub unsafe fn take_array(schema: *mut c_void, array: *mut c_void) -> Result<Incoming, String> {
        // SAFETY: the caller's promise.
        let (schema, array) = unsafe {
            let schema = schema.cast::<ArrowSchema>().replace(ArrowSchema::empty());
            (schema, array.cast::<ArrowArray>().replace(ArrowArray::empty()))
        };
        if schema.release.is_none() || array.release.is_none() {
            return Err("the array is used up".to_owned());
        }
        Ok(Incoming {
            schema,
            batches: Batches::One(Some(array)),
        })
    }

    /// The type of the batches.
    pub fn schema(&self) -> &ArrowSchema {
        &self.schema
    }

    /// The next batch, `None` after the last.
    ///
    /// # Errors
    /// What the producer says.
    pub fn next_batch(&mut self) -> Result<Option<ArrowArray>, String> {
        let stream = match &mut self.batches {
            Batches::One(array) => return Ok(array.take()),
            Batches::Stream(stream) => stream,
        };
        let Some(get_next) = stream.get_next else {
            return Ok(None);
        };
        let mut array = ArrowArray::empty();
        // SAFETY: the stream is not released, this is its only user, and there is room for an array.
        let errno = unsafe { get_next(stream, &mut array) };
        match errno {
            0 => Ok(array.release.is_some().then_some(array)),
            errno => Err(stream.error(errno)),
        }
    }
}

impl ArrowArrayStream {
    fn error(&mut self, errno: c_int) -> String {
        // SAFETY: the stream is not released; the text lives until its next call.
        let text = self.get_last_error.and_then(|get| unsafe {
            let text = get(self);
            (!text.is_null()).then(|| CStr::from_ptr(text).to_string_lossy().into_owned())
        });
        text.unwrap_or_else(|| std::io::Error::from_raw_os_error(errno).to_string())
    }
}

impl ArrowSchema {
    /// The format string of the type.
    pub fn format(&self) -> &str {
        // SAFETY: a text that lives as long as the schema.
        unsafe { text(self.format) }
    }

    /// The field's name.
    pub fn name(&self) -> &str {
        // SAFETY: as above; it may be NULL.
        unsafe { text(self.name) }
    }

    /// Whether the field may be NULL.
    pub fn is_nullable(&self) -> bool {
        self.flags & NULLABLE != 0
    }

    /// The fields of a type with several.
    pub fn children(&self) -> impl Iterator<Item = &ArrowSchema> {
        // SAFETY: so many children, which live as long as the schema.
        (0..usize::try_from(self.n_children).unwrap_or(0)).map(|index| unsafe { &**self.children.add(index) })
    }

    /// The type of the values, if these are numbers that stand for them.
    pub fn dictionary(&self) -> Option<&ArrowSchema> {
        // SAFETY: NULL, or a schema that lives as long as this one.
        unsafe { self.dictionary.as_ref() }
    }

    /// What the metadata say under this key.
    pub fn metadata(&self, key: &str) -> Option<String> {
        if self.metadata.is_null() {
            return None;
        }
        let mut at = self.metadata.cast::<u8>();
        // SAFETY: counts and texts lie as `schema` above packs them, and live as long as the schema.
        let number = |at: &mut *const u8| unsafe {
            let number = at.cast::<[u8; 4]>().read();
            *at = at.add(4);
            usize::try_from(i32::from_ne_bytes(number)).unwrap_or(0)
        };
        let entries = number(&mut at);
        let next = |at: &mut *const u8| {
            let length = number(at);
            // SAFETY: as above.
            unsafe {
                let bytes = std::slice::from_raw_parts(*at, length);
                *at = at.add(length);
                String::from_utf8_lossy(bytes).into_owned()
            }
        };
        (0..entries)
            .map(|_| (next(&mut at), next(&mut at)))
            .find_map(|(name, value)| (name == key).then_some(value))
    }
}

/// A text of the C interface.
///
/// # Safety
/// `pointer` is NULL or to a text that ends in NUL and lives as long as what is returned.
unsafe fn text<'a>(pointer: *const c_char) -> &'a str {
    if pointer.is_null() {
        return "";
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(pointer) }.to_str().unwrap_or_default()
}

impl ArrowArray {
    /// How many values it has.
    pub fn rows(&self) -> usize {
        usize::try_from(self.length).unwrap_or(0)
    }

    /// The place of the first one in its buffers.
    pub fn offset(&self) -> usize {
        usize::try_from(self.offset).unwrap_or(0)
    }

    /// Whether it may have a NULL.
    pub fn may_have_nulls(&self) -> bool {
        self.null_count != 0
    }

    /// The columns of a record batch.
    pub fn children(&self) -> impl ExactSizeIterator<Item = &ArrowArray> {
        // SAFETY: so many children, which live as long as the array.
        (0..usize::try_from(self.n_children).unwrap_or(0)).map(|index| unsafe { &**self.children.add(index) })
    }

    /// The values that this array's numbers stand for.
    pub fn dictionary(&self) -> Option<&ArrowArray> {
        // SAFETY: NULL, or an array that lives as long as this one.
        unsafe { self.dictionary.as_ref() }
    }

    /// The bits that say which rows hold a value; `None` where all of them do.
    pub fn validity(&self) -> Option<&[u8]> {
        self.fixed(0, 1).filter(|_| self.may_have_nulls())
    }

    /// A buffer that has so many bits for each value; `None` where there is none.
    pub fn fixed(&self, index: usize, bits: usize) -> Option<&[u8]> {
        self.buffer(index, ((self.offset() + self.rows()) * bits).div_ceil(8))
    }

    /// The buffers of values of varying length: where each begins and the last ends, in numbers of `width` bytes, and the
    /// bytes of all.
    pub fn varying(&self, width: usize) -> Option<(&[u8], &[u8])> {
        if self.rows() == 0 {
            return Some((&[], &[]));
        }
        let ends = self.buffer(1, (self.offset() + self.rows() + 1) * width)?;
        let bytes = usize::try_from(number(&ends[ends.len() - width..])).ok()?;
        match bytes {
            0 => Some((ends, &[])),
            _ => Some((ends, self.buffer(2, bytes)?)),
        }
    }

    /// The buffers that views point into; the last buffer says how long each of them is.
    pub fn view_buffers(&self) -> Vec<&[u8]> {
        let count = self.n_buffers().saturating_sub(3);
        let Some(lengths) = self.buffer(count + 2, count * 8) else {
            return Vec::new();
        };
        let lengths = lengths
            .chunks_exact(8)
            .map(|length| usize::try_from(number(length)).unwrap_or(0));
        lengths
            .enumerate()
            .map(|(index, bytes)| self.buffer(index + 2, bytes).unwrap_or_default())
            .collect()
    }

    fn n_buffers(&self) -> usize {
        usize::try_from(self.n_buffers).unwrap_or(0)
    }

    /// So many bytes of a buffer; `None` where there is no such buffer, or none is needed. How long it is the interface
    /// does not say: the functions above know from the layout.
    fn buffer(&self, index: usize, bytes: usize) -> Option<&[u8]> {
        if index >= self.n_buffers() {
            return None;
        }
        // SAFETY: there are so many pointers. Their memory lives as long as the array, and the producer has promised that
        // it is as long as the layout of the array's type asks for.
        unsafe {
            let pointer = (*self.buffers.add(index)).cast::<u8>();
            (!pointer.is_null()).then(|| std::slice::from_raw_parts(pointer, bytes))
        }
    }
}

/// A whole number of four or eight bytes.
fn number(bytes: &[u8]) -> i64 {
    match bytes {
        [a, b, c, d] => i64::from(i32::from_ne_bytes([*a, *b, *c, *d])),
        _ => bytes.try_into().map_or(-1, i64::from_ne_bytes),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use super::*;
    use crate::database::{
        Batch, Layout, LogicalType, Reader, Value,
        arrow::{Rows, Type, record_batch},
        temporal::{Date, OffsetTimestamp, Time, Timestamp},
    };

    /// Two batches, then an error; tells how often it was dropped.
    struct Batches {
        left: Vec<ArrowArray>,
        types: Vec<Type>,
        dropped: Arc<AtomicUsize>,
    }

    impl Producer for Batches {
        fn schema(&mut self) -> ArrowSchema {
            let fields = self.types.iter().enumerate().map(|(place, kind)| Field {
                name: format!("é{place}"),
                format: kind.format(),
                nullable: place > 0,
                metadata: vec![("dray.type", "jsonb".to_owned()), ("other", String::new())],
            });
            schema_of(&fields.collect::<Vec<_>>())
        }

        fn next_batch(&mut self) -> Result<Option<ArrowArray>, Failure> {
            match self.left.pop() {
                Some(batch) => Ok(Some(batch)),
                None => Err(Failure {
                    errno: libc::EINVAL,
                    message: "no\0 more".to_owned(),
                }),
            }
        }
    }

    impl Drop for Batches {
        fn drop(&mut self) {
            self.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn batch(first_row: u64, rows: u64) -> (Vec<LogicalType>, Batch) {
        let date = Date::new(1969, 12, 31).unwrap();
        let time = Time::parse("23:59:59.000001").unwrap();
        let local = Timestamp { date, time };
        let instant = OffsetTimestamp {
            local,
            offset_minutes: 0,
        };
        let columns = [
            (LogicalType::Integer { bits: 16, signed: true }, Value::I64(-300)),
            (LogicalType::Boolean, Value::I64(1)),
            (
                LogicalType::Integer {
                    bits: 64,
                    signed: false,
                },
                Value::Decimal("18446744073709551615"),
            ),
            (LogicalType::Float { bits: 32 }, Value::F64(-0.5)),
            (LogicalType::decimal(38, 2), Value::Decimal("-12345678901234567890.25")),
            (
                LogicalType::decimal(60, 1),
                Value::Decimal("-123456789012345678901234567890123456789.5"),
            ),
            (LogicalType::TEXT, Value::Text("é🎉")),
            (LogicalType::BYTES, Value::Bytes(b"\0\xff")),
            (LogicalType::Date, Value::Date(date)),
            (LogicalType::Time { digits: 6, span: false }, Value::Time(time)),
            (LogicalType::Timestamp { digits: 9 }, Value::Timestamp(local)),
            (
                LogicalType::Instant {
                    digits: 6,
                    epoch_32: false,
                },
                Value::Instant(instant),
            ),
        ];
        let mut batch = Batch::new(columns.iter().map(|(logical, _)| logical.layout()));
        batch.first_row = first_row;
        for row in 0..rows {
            for (place, (_, value)) in columns.iter().enumerate() {
                let is_null = place > 0 && (row + place as u64).is_multiple_of(3);
                batch.columns[place].push(if is_null { Value::Null } else { *value });
            }
        }
        (columns.iter().map(|(logical, _)| *logical).collect(), batch)
    }

    #[test]
    fn what_goes_out_through_the_c_interface_comes_in_as_the_same() {
        let (logical, whole) = batch(1, 20);
        let types: Vec<Type> = logical.iter().map(|logical| Type::of(*logical).unwrap()).collect();
        let dropped = Arc::new(AtomicUsize::new(0));
        let mut stream = stream_of(Box::new(Batches {
            left: vec![
                record_batch(&batch(13, 8).1, &types).unwrap(),
                record_batch(&batch(1, 12).1, &types).unwrap(),
            ],
            types: types.clone(),
            dropped: Arc::clone(&dropped),
        }));
        // SAFETY: it is such a stream, and nobody else's.
        let incoming = unsafe { Incoming::take_stream((&raw mut stream).cast()) }.unwrap();
        assert!(stream.release.is_none());
        let first = incoming.schema().children().next().unwrap();
        assert_eq!((first.name(), first.is_nullable()), ("é0", false));
        assert_eq!(first.metadata("dray.type").as_deref(), Some("jsonb"));
        assert_eq!(first.metadata("other").as_deref(), Some(""));
        assert_eq!(first.metadata("more"), None);
        let mut rows = Rows::new(incoming).unwrap();
        assert_eq!(
            rows.columns().iter().map(|column| column.logical).collect::<Vec<_>>(),
            logical
        );
        let mut read = Batch::new(logical.iter().map(|logical| logical.layout()));
        let mut values = Vec::new();
        // In pieces that are shorter than the batches.
        while let Ok(true) = rows.read(&mut read, 200) {
            assert_eq!(read.first_row, values.len() as u64 + 1);
            for row in 0..read.rows() {
                values.push(
                    read.columns
                        .iter()
                        .map(|column| format!("{:?}", column.value(row)))
                        .collect::<Vec<_>>(),
                );
            }
        }
        let expected = |row: usize| {
            whole
                .columns
                .iter()
                .map(move |column| format!("{:?}", column.value(row)))
        };
        assert_eq!(values.len(), 20);
        // The second batch begins its pattern of NULLs anew.
        for (row, found) in values.iter().enumerate() {
            assert_eq!(
                *found,
                expected(if row < 12 { row } else { row - 12 }).collect::<Vec<_>>(),
                "{row}"
            );
        }
        assert!(rows.read(&mut read, 200).unwrap_err().to_string().contains("no more"));
        drop(rows);
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn a_child_that_was_taken_out_outlives_its_batch() {
        let types = [Type::of(LogicalType::TEXT).unwrap()];
        let mut texts = Batch::new([Layout::Text]);
        texts.columns[0].push(Value::Text("kept"));
        let batch = record_batch(&texts, &types).unwrap();
        // SAFETY: the batch has one child; a consumer may move it out, and marks it as released where it was.
        let child = unsafe { (*batch.children).replace(ArrowArray::empty()) };
        drop(batch);
        assert_eq!(child.varying(8).unwrap().1, b"kept");
    }

    #[test]
    fn what_is_used_up_is_refused() {
        let mut empty = ArrowArrayStream::empty();
        // SAFETY: a released stream.
        let taken = unsafe { Incoming::take_stream((&raw mut empty).cast()) };
        assert!(taken.is_err_and(|error| error.contains("used up")));
    }
}
