//! What `dray run` does on a node that may be taken away.

use crate::activity::BatchIdentity;
use crate::azure::scheduled_events;
use crate::worker::Stops;

/// On a spot node of Batch: a thread that stops the run when the node is about to be taken away. It asks the metadata
/// service once a second and is never waited for.
pub fn watch_for_preemption(stops: &Stops) {
    let environment = |name: &str| std::env::var_os(name);
    if BatchIdentity::from_env(environment).node_is_dedicated != Some(false) {
        return;
    }
    let stopper = stops.stopper();
    let thread = std::thread::Builder::new().name("dray-preemption".to_owned());
    // Without it the run goes on as it would on a node that nobody announces anything to.
    let _ = thread.spawn(move || {
        let not_before = scheduled_events::wait_for_preemption(|name| std::env::var(name).ok());
        let when = match not_before.as_str() {
            "" => "now".to_owned(),
            time => format!("not before {time}"),
        };
        stopper.stop(format!("this spot node is taken away ({when})"));
    });
}
