//! Deletes blobs by the day in their keys, oldest day first. Knows no periods, and touches nothing that has no key.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;

use super::{BlobError, BlobKey, Blobs, StoreError, key};
use crate::model::Timestamp;

impl Blobs {
    /// Deletes at most `limit` blobs that were received on days (UTC) before that of `day`; says how many. None is left
    /// where it says 0. In a folder, their empty folders go with the next [`Blobs::sweep`].
    ///
    /// # Errors
    /// [`BlobError::Storage`]; what was deleted until then stays deleted.
    pub async fn delete_before(&self, day: Timestamp, limit: usize) -> Result<usize, BlobError> {
        let mut deleted = 0;
        for day in self.days_before(&key::day_of(day)).await? {
            if deleted >= limit {
                break;
            }
            let keys = self.keys_in(&day, limit - deleted).await?;
            if !keys.is_empty() {
                self.delete(&keys).await?;
            }
            deleted += keys.len();
        }
        Ok(deleted)
    }

    /// Folders of days, in order.
    async fn days_before(&self, first_kept: &str) -> Result<Vec<Path>, BlobError> {
        let days = key::days(&self.prefix());
        let listed = self.store().list_with_delimiter(Some(&days)).await;
        let listed = listed.map_err(|cause| cannot_list(&days, cause))?;
        let is_before = |path: &Path| path.filename().is_some_and(|day| key::is_day(day) && day < first_kept);
        let mut before: Vec<_> = listed.common_prefixes.into_iter().filter(is_before).collect();
        before.sort();
        Ok(before)
    }

    async fn keys_in(&self, day: &Path, limit: usize) -> Result<Vec<BlobKey>, BlobError> {
        let prefix = self.prefix();
        let listed = self.store().list(Some(day));
        let keys = listed.try_filter_map(|file| std::future::ready(Ok(BlobKey::at(&file.location, &prefix))));
        keys.take(limit).try_collect().await.map_err(|cause| cannot_list(day, cause))
    }
}

fn cannot_list(place: &Path, cause: StoreError) -> BlobError {
    BlobError::Storage { action: "list", key: place.to_string(), cause }
}
