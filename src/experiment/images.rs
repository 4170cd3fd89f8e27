//! Image sets that the runs of a plan share; each is loaded once.

use crate::Result;
use crate::data::image_set::ImageSet;
use crate::train::source::load_images;
use crate::train::{Settings, Source};
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

/// The loaded images, for runs to share. As many sets are kept as there are workers.
pub struct Images {
    kept: Mutex<Vec<(String, Arc<ImageSet>)>>,
    /// Hashes computed so far; a hash takes as long as many steps.
    hashes: Mutex<BTreeMap<String, String>>,
    most: usize,
}

impl Images {
    /// An empty cache that keeps at most `most` sets.
    pub fn new(most: usize) -> Images {
        Images { kept: Mutex::default(), hashes: Mutex::default(), most: most.max(1) }
    }

    /// A run's data. Errors: as in loading.
    pub fn source(&self, settings: &Settings) -> Result<Source> {
        if settings.deep_linear() {
            return Source::open(settings);
        }
        Source::of(self.set(settings)?, settings)
    }

    /// The hash of a run's images, as its record has it. Errors: as in loading.
    pub fn hash(&self, settings: &Settings) -> Result<String> {
        let mut hashes = self.hashes.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let key = image_key(settings);
        if let Some(hash) = hashes.get(&key) {
            return Ok(hash.clone());
        }
        let hash = self.set(settings)?.hash();
        hashes.insert(key, hash.clone());
        Ok(hash)
    }

    fn set(&self, settings: &Settings) -> Result<Arc<ImageSet>> {
        let key = image_key(settings);
        // Held while loading: two runs that want the same set load it once.
        let mut kept = self.kept.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let set = match kept.iter().find(|(same, _)| *same == key) {
            Some((_, set)) => set.clone(),
            None => {
                let set = Arc::new(load_images(settings)?);
                if kept.len() >= self.most {
                    kept.remove(0);
                }
                kept.push((key, set.clone()));
                set
            }
        };
        Ok(set)
    }
}

/// A key made of everything that a run's images depend on.
pub fn image_key(settings: &Settings) -> String {
    // CIFAR-10 is the same for every seed, generated images are not.
    let seed = if settings.data == "images" { settings.seed } else { 0 };
    format!("{} {:?} {:?} {seed}", settings.data, settings.limit_train, settings.limit_test)
}
