//! The `document` and `log` interfaces: the guest's calls, counted and passed to the document.

use std::borrow::Cow;

use bytestring::ByteString;
use jiff::civil::DateTime;
use jiff::tz::Offset;
use wasmtime::component::Resource;

use crate::document::{LargeField, RunKey, text as unquoted, within};
use crate::plugin::guest_log::LogLine;
use crate::plugin::sandbox::Sandbox;
use crate::plugin::sandbox::bindings::{PayloadHandle, RunHandle, document, log};

type Run = Resource<RunHandle>;
type Payload = Resource<PayloadHandle>;
type Result<T> = wasmtime::Result<T>;

fn key(run: &Run) -> RunKey {
    RunKey(run.rep() as usize)
}

impl Sandbox {
    fn run_json(&mut self, run: RunKey, pointer: &str) -> Result<Option<String>> {
        if pointer.is_empty() {
            self.take_in(run)?;
        }
        if let Some(value) = self.elsewhere_at(run, pointer)? {
            let found = within(&value, pointer).map(|json| self.usage.hand_out(json));
            return Ok(found.transpose()?.map(str::to_owned));
        }
        match self.document.run_get(run, pointer) {
            Some(json) => self.usage.hand_out(json).map(|json| Some(json.into_owned())),
            None => Ok(None),
        }
    }

    fn run_string(&mut self, run: RunKey, pointer: &str) -> Result<Option<String>> {
        let found = match self.elsewhere_at(run, pointer)? {
            Some(value) => within(&value, pointer).and_then(unquoted).map(Cow::into_owned),
            None => self.document.run_text(run, pointer),
        };
        found.map(|text| self.usage.hand_out(text)).transpose()
    }

    /// The value of the field that a pointer leads to or into, where it lies elsewhere.
    fn elsewhere_at(&mut self, run: RunKey, pointer: &str) -> Result<Option<ByteString>> {
        match LargeField::of(pointer) {
            Some(field) => self.elsewhere(run, field, &[field]),
            None => Ok(None),
        }
    }

    /// What an edit by a pointer of the payload needs to be there.
    fn take_in_below(&mut self, pointer: &str) -> Result<()> {
        match self.document.run_at(pointer) {
            Some((run, rest)) => self.take_in_for(run, rest),
            None => Ok(()),
        }
    }

    fn run_text(&mut self, run: &Run, pointer: &str) -> Result<Option<String>> {
        self.usage.call()?;
        self.run_string(key(run), pointer)
    }

    fn payload_text(&mut self, pointer: &str) -> Result<Option<String>> {
        self.usage.call()?;
        if let Some((run, rest)) = self.document.run_at(pointer) {
            return self.run_string(run, rest);
        }
        match self.document.text(pointer) {
            Some(text) => self.usage.hand_out(text).map(Some),
            None => Ok(None),
        }
    }
}

impl document::Host for Sandbox {}

impl document::HostRun for Sandbox {
    fn id(&mut self, run: Run) -> Result<String> {
        Ok(self.run_text(&run, "/id")?.unwrap_or_default())
    }

    fn name(&mut self, run: Run) -> Result<String> {
        Ok(self.run_text(&run, "/name")?.unwrap_or_default())
    }

    fn run_type(&mut self, run: Run) -> Result<String> {
        Ok(self.run_text(&run, "/run_type")?.unwrap_or_default())
    }

    fn status(&mut self, run: Run) -> Result<String> {
        Ok(self.run_text(&run, "/status")?.unwrap_or_default())
    }

    fn error(&mut self, run: Run) -> Result<Option<String>> {
        self.run_text(&run, "/error")
    }

    fn tags(&mut self, run: Run) -> Result<Vec<String>> {
        self.usage.call()?;
        let tags = self.document.run_get(key(&run), "/tags");
        let tags: Vec<String> = tags.and_then(|tags| serde_json::from_str(&tags).ok()).unwrap_or_default();
        tags.into_iter().map(|tag| self.usage.hand_out(tag)).collect()
    }

    fn start_time(&mut self, run: Run) -> Result<Option<String>> {
        self.run_text(&run, "/start_time")
    }

    fn end_time(&mut self, run: Run) -> Result<Option<String>> {
        self.run_text(&run, "/end_time")
    }

    fn latency_ms(&mut self, run: Run) -> Result<Option<f64>> {
        self.usage.call()?;
        let time = |field| self.document.run_text(key(&run), field).as_deref().and_then(micros);
        Ok(time("/start_time").zip(time("/end_time")).map(|(start, end)| (end - start) as f64 / 1000.0))
    }

    fn total_tokens(&mut self, run: Run) -> Result<Option<u64>> {
        self.usage.call()?;
        Ok(self.document.run_get(key(&run), "/total_tokens").and_then(|tokens| tokens.parse().ok()))
    }

    fn url(&mut self, run: Run) -> Result<Option<String>> {
        match self.run_text(&run, "/trace_url")? {
            Some(url) => Ok(Some(url)),
            None => self.run_text(&run, "/app_path"),
        }
    }

    fn get(&mut self, run: Run, pointer: String) -> Result<Option<String>> {
        self.usage.call()?;
        self.usage.take_in(pointer.len())?;
        self.run_json(key(&run), &pointer)
    }

    fn text(&mut self, run: Run, pointer: String) -> Result<Option<String>> {
        self.usage.take_in(pointer.len())?;
        self.run_text(&run, &pointer)
    }

    fn set(&mut self, run: Run, pointer: String, value: String) -> Result<std::result::Result<(), String>> {
        self.usage.call()?;
        self.usage.take_in(pointer.len() + value.len())?;
        self.take_in_for(key(&run), &pointer)?;
        Ok(self.document.run_set(key(&run), &pointer, &value).map_err(|error| error.to_string()))
    }

    fn remove(&mut self, run: Run, pointer: String) -> Result<bool> {
        self.usage.call()?;
        self.usage.take_in(pointer.len())?;
        self.take_in_for(key(&run), &pointer)?;
        Ok(self.document.run_remove(key(&run), &pointer))
    }

    fn drop(&mut self, _run: Run) -> Result<()> {
        self.usage.take_handle();
        Ok(())
    }
}

impl document::HostPayload for Sandbox {
    fn rule_id(&mut self, _: Payload) -> Result<String> {
        Ok(self.payload_text("/rule_id")?.unwrap_or_default())
    }

    fn start_time(&mut self, _: Payload) -> Result<String> {
        Ok(self.payload_text("/start_time")?.unwrap_or_default())
    }

    fn end_time(&mut self, _: Payload) -> Result<String> {
        Ok(self.payload_text("/end_time")?.unwrap_or_default())
    }

    fn len(&mut self, _: Payload) -> Result<u32> {
        self.usage.call()?;
        Ok(u32::try_from(self.document.len()).unwrap_or(u32::MAX))
    }

    fn run(&mut self, _: Payload, index: u32) -> Result<Option<Run>> {
        self.usage.call()?;
        let key = self.document.run(index as usize).and_then(|key| u32::try_from(key.0).ok());
        if key.is_some() {
            self.usage.give_handle();
        }
        Ok(key.map(Resource::new_own))
    }

    fn drop_run(&mut self, _: Payload, index: u32) -> Result<bool> {
        self.usage.call()?;
        let key = self.document.run(index as usize);
        Ok(key.is_some_and(|key| self.document.drop_run(key)))
    }

    fn get(&mut self, _: Payload, pointer: String) -> Result<Option<String>> {
        self.usage.call()?;
        self.usage.take_in(pointer.len())?;
        if let Some((run, rest)) = self.document.run_at(&pointer) {
            return self.run_json(run, rest);
        }
        if matches!(pointer.as_str(), "" | "/runs") {
            self.take_all_in()?;
        }
        match self.document.get(&pointer) {
            Some(json) => self.usage.hand_out(json).map(|json| Some(json.into_owned())),
            None => Ok(None),
        }
    }

    fn text(&mut self, _: Payload, pointer: String) -> Result<Option<String>> {
        self.usage.take_in(pointer.len())?;
        self.payload_text(&pointer)
    }

    fn set(&mut self, _: Payload, pointer: String, value: String) -> Result<std::result::Result<(), String>> {
        self.usage.call()?;
        self.usage.take_in(pointer.len() + value.len())?;
        self.take_in_below(&pointer)?;
        Ok(self.document.set(&pointer, &value).map_err(|error| error.to_string()))
    }

    fn remove(&mut self, _: Payload, pointer: String) -> Result<bool> {
        self.usage.call()?;
        self.usage.take_in(pointer.len())?;
        self.take_in_below(&pointer)?;
        Ok(self.document.remove(&pointer))
    }

    fn json(&mut self, payload: Payload) -> Result<String> {
        Ok(document::HostPayload::get(self, payload, String::new())?.unwrap_or_default())
    }

    fn drop(&mut self, _: Payload) -> Result<()> {
        Ok(())
    }
}

impl log::Host for Sandbox {
    fn log(&mut self, level: String, message: String) -> Result<()> {
        self.usage.call()?;
        self.usage.take_in(message.len())?;
        self.usage.log_lines += 1;
        let lines_max = self.usage.limits.log_lines;
        if self.usage.log_lines <= lines_max {
            self.log.push(LogLine::new(&level, &message));
        } else if self.usage.log_lines == lines_max + 1 {
            let cut = format!("it logs more than {lines_max} lines (limit `log_lines`); the rest is dropped");
            self.log.push(LogLine::new("warn", &cut));
        }
        Ok(())
    }
}

/// Microseconds of a time as runs write it: naive or zoned.
fn micros(time: &str) -> Option<i64> {
    let zoned = time.parse::<jiff::Timestamp>();
    let naive = || Offset::UTC.to_timestamp(time.parse::<DateTime>().ok()?).ok();
    zoned.ok().or_else(naive).map(|time| time.as_microsecond())
}
