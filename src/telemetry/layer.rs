//! Turns `tracing` events into records: a layer over the registry that gathers an event's fields and those of the spans
//! around it. Knows `tracing`, and hands everything else to [`super::write`].

use std::error::Error;
use std::fmt::Debug;

use serde_json::{Map, Number, Value};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::{Entry, LogLevel, write};

/// The layer; it has no state of its own.
pub(super) struct RecordLayer;

impl<S: Subscriber + for<'s> LookupSpan<'s>> Layer<S> for RecordLayer {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        for span in context
            .event_scope(event)
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .into_iter()
            .rev()
        {
            if let Some(outer) = span.extensions().get::<Fields>() {
                fields.0.extend(outer.0.clone());
            }
        }
        event.record(&mut fields);
        let mut fields = fields.0;
        let mut take = |key| match fields.shift_remove(key) {
            Some(Value::String(text)) => text,
            Some(other) => other.to_string(),
            None => String::new(),
        };
        let message = take("message");
        let event_name = take("event");
        write(Entry {
            level: LogLevel::from_tracing(*event.metadata().level()),
            event: &event_name,
            logger: event.metadata().target(),
            message: &message,
            fields,
            exception: None,
        });
    }
}

/// Fields of an event or span, in the order in which they were recorded.
#[derive(Default)]
struct Fields(Map<String, Value>);

impl Fields {
    fn set(&mut self, field: &Field, value: Value) {
        self.0.insert(field.name().to_owned(), value);
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.set(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.set(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.set(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.set(field, Value::from(value));
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.set(
            field,
            Number::from_i128(value).map_or_else(|| Value::from(value.to_string()), Value::Number),
        );
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.set(
            field,
            Number::from_u128(value).map_or_else(|| Value::from(value.to_string()), Value::Number),
        );
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.set(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinity.
        self.set(
            field,
            Number::from_f64(value).map_or_else(|| Value::from(value.to_string()), Value::Number),
        );
    }

    fn record_error(&mut self, field: &Field, value: &(dyn Error + 'static)) {
        let mut chain = value.to_string();
        let mut source = value.source();
        while let Some(error) = source {
            chain.push_str(&format!(": {error}"));
            source = error.source();
        }
        self.set(field, Value::from(chain));
    }
}
