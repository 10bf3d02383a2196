//! Links to a run. The form of `app_path` is the documented sample's; `trace_url` is the same with the host before it.

use super::field::View;
use super::json;

/// `/o/<tenant>/projects/p/<project>/r/<run>?trace_id=<trace>&start_time=<naive>`
pub(super) fn app_path(out: &mut String, view: &View<'_>) {
    out.push('"');
    path(out, view);
    out.push('"');
}

/// The same, absolute.
pub(super) fn trace_url(out: &mut String, view: &View<'_>) {
    let mut url = view.origin.public_url.as_str().trim_end_matches('/').to_owned();
    path(&mut url, view);
    json::string(out, &url);
}

fn path(out: &mut String, view: &View<'_>) {
    let run = view.run;
    let steps =
        [("/o/", view.origin.tenant), ("/projects/p/", run.project.0), ("/r/", run.id.0), ("?trace_id=", run.trace.0)];
    for (step, id) in steps {
        out.push_str(step);
        json::uuid_text(out, id);
    }
    out.push_str("&start_time=");
    json::naive_text(out, run.start_time);
}
