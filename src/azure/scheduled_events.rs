//! What the platform has scheduled for this virtual machine, as far as a run has to know: that a spot node is taken away
//! (azure-docs, `virtual-machines/linux/scheduled-events.md`: `Preempt`, announced at least 30 seconds ahead).
//!
//! Never an error: a service that does not answer says nothing.

use std::time::Duration;

use serde_json::Value;

use super::metadata::Metadata;

/// Between two looks at the events; the documentation recommends one a second.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The first answer switches the service on for the machine, which the documentation gives two minutes.
const CALL_LIMIT: Duration = Duration::from_secs(120);

/// After an error; a service that is not there is not to be called each second.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(5);

/// Waits until this machine is to be taken away, and gives the time before which it is not (as the service writes it:
/// `Mon, 11 Apr 2026 22:26:58 GMT`, empty if it has begun). Does not return before that.
pub fn wait_for_preemption(get: impl Fn(&str) -> Option<String>) -> String {
    let metadata = Metadata::new(get, CALL_LIMIT);
    let mut own_name: Option<String> = None;
    loop {
        if own_name.is_none() {
            own_name = name_of_this_machine(&metadata);
        }
        let Some(events) = document(&metadata, "/metadata/scheduledevents", "2020-07-01") else {
            std::thread::sleep(PAUSE_AFTER_ERROR);
            continue;
        };
        if let Some(not_before) = preemption(&events, own_name.as_deref()) {
            return not_before;
        }
        std::thread::sleep(INTERVAL);
    }
}

/// `NotBefore` of the event that takes away the machine of this name. An event tells all machines of a scale set; without
/// a name, one that concerns a single machine is taken for this one's, since nobody is told of those of other sets.
fn preemption(document: &Value, own_name: Option<&str>) -> Option<String> {
    let events = document["Events"].as_array()?;
    let concerns = |event: &&Value| {
        let resources = event["Resources"].as_array().map(Vec::as_slice).unwrap_or_default();
        event["EventType"] == "Preempt"
            && match own_name {
                Some(own) => resources
                    .iter()
                    .any(|each| each.as_str().is_some_and(|name| name.eq_ignore_ascii_case(own))),
                None => resources.len() == 1,
            }
    };
    let event = events.iter().find(concerns)?;
    Some(event["NotBefore"].as_str().unwrap_or_default().to_owned())
}

fn name_of_this_machine(metadata: &Metadata) -> Option<String> {
    let name = document(metadata, "/metadata/instance/compute", "2021-02-01")?["name"]
        .as_str()?
        .to_owned();
    (!name.is_empty()).then_some(name)
}

fn document(metadata: &Metadata, path: &str, api_version: &str) -> Option<Value> {
    let mut response = metadata.get(path, &[("api-version", api_version)]).ok()?;
    let body = response.body_mut().read_to_vec().ok()?;
    serde_json::from_slice(&body)
        .ok()
        .filter(|_| response.status().is_success())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(kind: &str, resources: &[&str]) -> Value {
        json!({"DocumentIncarnation": 2, "Events": [{"EventId": "602d9444-d2cd-49c7-8624-8643e7171297",
            "EventStatus": "Scheduled", "EventType": kind, "ResourceType": "VirtualMachine", "Resources": resources,
            "NotBefore": "Mon, 19 Sep 2026 18:29:47 GMT", "Description": "", "EventSource": "Platform",
            "DurationInSeconds": -1}]})
    }

    #[test]
    fn the_preemption_of_this_machine_is_seen_and_that_of_another_is_not() {
        let time = Some("Mon, 19 Sep 2026 18:29:47 GMT".to_owned());
        assert_eq!(preemption(&event("Preempt", &["set_1", "set_7"]), Some("SET_7")), time);
        assert_eq!(preemption(&event("Preempt", &["set_1"]), Some("set_7")), None);
        assert_eq!(preemption(&event("Freeze", &["set_7"]), Some("set_7")), None);
        assert_eq!(preemption(&json!({"Events": []}), Some("set_7")), None);
    }

    #[test]
    fn without_a_name_a_single_machine_is_taken_for_this_one() {
        assert!(preemption(&event("Preempt", &["set_1"]), None).is_some());
        assert_eq!(preemption(&event("Preempt", &["set_1", "set_2"]), None), None);
    }
}
