//! What `dray run` sets up so that no secret of the run is seen where it should not be.

use super::run::Plan;
use crate::activity::secrets_of_text;
use crate::sharing::{self, Served};
use crate::telemetry;
use crate::worker::{Redirection, RunFolder};

/// Where there is something to hide, or a script in Data Factory may bring it: lets the processes of the run tell what they
/// learn of secrets, and says which of the script's streams are to be masked. Elsewhere nothing is done, and nothing costs
/// anything.
///
/// # Errors
/// The run folder cannot be written.
pub fn share(plan: &Plan, run_folder: &RunFolder) -> std::io::Result<Redirection> {
    let may_learn = plan.handover.activity.is_some() || plan.handover.has_key_vault();
    let to_mask = may_learn || telemetry::redactor().masks_streams();
    if !to_mask && !plan.scrub {
        return Ok(Redirection::default());
    }
    let served = Served {
        on_secret: |secret| {
            let parts = secrets_of_text(secret);
            let all = parts.iter().map(String::as_str).chain([secret]);
            telemetry::redactor().add_all(all);
        },
        files: plan.scrub.then(|| plan.handover.to_files()),
    };
    sharing::serve(run_folder.path(), served)?;
    Ok(if to_mask && !plan.no_mask {
        Redirection::decide()
    } else {
        Redirection::default()
    })
}
