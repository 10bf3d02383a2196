//! `dotted_order`: a run's place in its trace, `YYYYMMDDTHHMMSSffffffZ<id>` of each ancestor and of itself, joined by
//! dots, the root first. A text of the client's; what is no such thing yields nothing.

use jiff::civil;
use jiff::tz::Offset;

use crate::model::Timestamp;
use crate::model::ids::RunId;

/// Length of an id at a segment's end.
const ID_LEN: usize = 36;

/// The ids of the ancestors, root first; none for a root.
pub fn ancestors(dotted_order: &str) -> impl Iterator<Item = RunId> {
    let above = dotted_order.rsplit_once('.').map(|(above, _)| above);
    above.into_iter().flat_map(|above| above.split('.')).filter_map(id)
}

/// The trace's root.
pub(super) fn first(dotted_order: &str) -> Option<RunId> {
    dotted_order.split('.').next().and_then(id)
}

/// The last but one.
pub(super) fn parent(dotted_order: &str) -> Option<RunId> {
    dotted_order.rsplit('.').nth(1).and_then(id)
}

/// When the run itself began.
pub(super) fn start_time(dotted_order: &str) -> Option<Timestamp> {
    let segment = dotted_order.rsplit('.').next()?;
    let digits = segment.get(..segment.len().checked_sub(ID_LEN)?)?;
    let number = |from: usize, to: usize| {
        let text = digits.get(from..to).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()))?;
        text.parse::<i32>().ok()
    };
    let small = |from: usize, to: usize| number(from, to).and_then(|number| i8::try_from(number).ok());
    let year = number(0, 4).and_then(|year| i16::try_from(year).ok())?;
    let date = civil::Date::new(year, small(4, 6)?, small(6, 8)?).ok()?;
    let time = civil::Time::new(small(9, 11)?, small(11, 13)?, small(13, 15)?, number(15, 21)? * 1000).ok()?;
    Offset::UTC.to_timestamp(date.to_datetime(time)).ok()
}

/// The place of a run that sent none, as far as it is known: its own segment.
pub(super) fn segment(start_time: Timestamp, id: RunId) -> String {
    let start = Offset::UTC.to_datetime(start_time);
    let (date, time) = (start.date(), start.time());
    format!(
        "{:04}{:02}{:02}T{:02}{:02}{:02}{:06}Z{id}",
        date.year(),
        date.month(),
        date.day(),
        time.hour(),
        time.minute(),
        time.second(),
        time.subsec_nanosecond() / 1000,
    )
}

fn id(segment: &str) -> Option<RunId> {
    segment.get(segment.len().checked_sub(ID_LEN)?..)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOT: &str = "01a20a21-7cd8-7000-8000-02556ffdde73";
    const CHILD: &str = "01a20a21-7ceb-7000-8000-03795a883c23";
    const LEAF: &str = "01a20a21-7cec-7000-8000-03795a883c24";

    fn leaf() -> String {
        format!("20261123T203816536001Z{ROOT}.20261123T203816555002Z{CHILD}.20261123T203816600003Z{LEAF}")
    }

    #[test]
    fn ids_and_start_are_read() {
        let id = |text: &str| text.parse::<RunId>().unwrap();
        assert_eq!(ancestors(&leaf()).collect::<Vec<_>>(), [id(ROOT), id(CHILD)]);
        assert_eq!((first(&leaf()), parent(&leaf())), (Some(id(ROOT)), Some(id(CHILD))));
        assert_eq!(start_time(&leaf()), Some("2026-11-23T20:38:16.600003Z".parse().unwrap()));
    }

    #[test]
    fn a_segment_reads_as_it_was_made() {
        let start = "2026-01-02T03:04:05.000006Z".parse().unwrap();
        let segment = segment(start, ROOT.parse().unwrap());
        assert_eq!(segment, format!("20260102T030405000006Z{ROOT}"));
        assert_eq!(start_time(&segment), Some(start));
        assert_eq!((parent(&segment), ancestors(&segment).count()), (None, 0));
    }

    #[test]
    fn anything_else_yields_nothing() {
        for text in ["", ".", "x", "20261123T203816536001Z", "ü.ü", &format!("-1261123T203816536001Z{ROOT}x")] {
            assert_eq!((first(text), parent(text), start_time(text)), (None, None, None), "{text}");
        }
        assert_eq!(start_time(&format!("+0261123T203816-36001Z{ROOT}")), None);
    }
}
