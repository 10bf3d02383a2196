//! Stored secrets under another key.

use async_trait::async_trait;
use rusqlite::{Rows, params};

use crate::limits;
use crate::model::ids::RuleId;
use crate::secrets::Keyring;
use crate::store::Result;
use crate::store::seals::{Resealed, SealStore};
use crate::store::sqlite::writer::Group;
use crate::store::sqlite::{Failure, SqliteStore};

#[async_trait]
impl SealStore for SqliteStore {
    async fn reseal(&self, behind: Option<RuleId>, limit: usize) -> Result<Resealed> {
        let keyring = self.keyring.clone();
        let work = move |group: &mut Group<'_>| reseal(group, &keyring, behind, limit);
        self.writer.submit("sealing secrets anew", 0, work).await
    }

    async fn reseal_body_keys(&self) -> Result<u64> {
        self.writer.submit("sealing the keys of bodies anew", 0, |group| Ok(group.log.reseal_keys()?)).await
    }
}

fn reseal(
    group: &Group<'_>,
    keyring: &Keyring,
    behind: Option<RuleId>,
    limit: usize,
) -> std::result::Result<Resealed, Failure> {
    let mut select = group
        .connection
        .prepare_cached("SELECT id, definition FROM rules WHERE id > ifnull(?1, x'') ORDER BY id LIMIT ?2")?;
    let mut update = group.connection.prepare_cached("UPDATE rules SET definition = ?2 WHERE id = ?1")?;
    let batch = batch(select.query(params![behind, limit as i64])?)?;
    let mut resealed = Resealed::default();
    for (id, definition) in batch {
        let (text, secrets) = under_current_key(&definition, keyring);
        if secrets > 0 {
            update.execute(params![id, text])?;
        }
        resealed.secrets += secrets;
        resealed.last = Some(id);
    }
    Ok(resealed)
}

/// As many as have room, read before any is written.
fn batch(mut rows: Rows<'_>) -> rusqlite::Result<Vec<(RuleId, String)>> {
    let (mut batch, mut bytes) = (Vec::new(), 0);
    while bytes < limits::RESEALED_BYTES_MAX
        && let Some(row) = rows.next()?
    {
        let definition: String = row.get(1)?;
        bytes += definition.len();
        batch.push((row.get(0)?, definition));
    }
    Ok(batch)
}

/// Every sealed secret of the JSON text under the current key, whichever field it is in; and how many changed. A sealed
/// text has no character that JSON would escape, so each stands whole between two quotes. What is there and only looks
/// like one is left: no key opens it.
fn under_current_key(json: &str, keyring: &Keyring) -> (String, u64) {
    let mut secrets = 0;
    let pieces: Vec<_> = json
        .split('"')
        .map(|piece| match keyring.reseal(piece) {
            Some(resealed) => {
                secrets += 1;
                resealed.into()
            }
            None => std::borrow::Cow::Borrowed(piece),
        })
        .collect();
    (pieces.join("\""), secrets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::secret::Secret;

    #[test]
    fn only_what_is_sealed_changes_and_the_rest_stays_byte_for_byte() {
        let folder = tempfile::tempdir().unwrap();
        let keyring = Keyring::load(folder.path(), None).unwrap();
        let (one, two) = (keyring.seal(&Secret::new("one")), keyring.seal(&Secret::new("two")));
        let looks_so = format!("v2:{}:AAAA:AAAA", keyring.current_id());
        let json = |one: &str, two: &str| {
            // A number that would not come back from a float as it is, and quotes within strings.
            format!(
                r#"{{"rate":0.10000000000000000001,"x": "{one}","new":[{{"y":"{two}"}}],"s":"say \"{looks_so}\" \\","{looks_so}":"{looks_so}"}}"#
            )
        };
        let before = json(&one, &two);
        assert_eq!(under_current_key(&before, &keyring), (before.clone(), 0));
        keyring.begin_rotation().unwrap();
        let (after, secrets) = under_current_key(&before, &keyring);
        assert_eq!(secrets, 2);
        let sealed: Vec<_> = after.split('"').filter(|piece| keyring.open(piece).is_ok()).collect();
        assert_eq!(after, json(sealed[0], sealed[1]));
        assert!(sealed.iter().all(|text| text.contains(&keyring.current_id())));
        assert_eq!(under_current_key(&after, &keyring), (after.clone(), 0));
    }
}
