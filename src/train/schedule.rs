//! When each probe runs.

use super::probe_entry::parts;
use super::settings::Settings;

impl Settings {
    /// Whether probe `name` is asked for at all.
    pub fn asks(&self, name: &str) -> bool {
        self.probe.iter().any(|entry| parts(entry).0 == name)
    }

    /// Whether probe `name` is due at step `t`.
    pub fn due(&self, name: &str, t: u64) -> bool {
        self.probe.iter().any(|entry| parts(entry).0 == name && self.entry_due(entry, t))
    }

    /// Whether any probe runs at step `t`.
    pub fn probes_at(&self, t: u64) -> bool {
        self.probe.iter().any(|entry| self.entry_due(entry, t))
    }

    /// How many times probe `name` runs. Where several intervals share steps of a long run, only the first steps are counted, and the rest
    /// extrapolated.
    pub fn due_count(&self, name: &str) -> f64 {
        const LOOKED_AT: u64 = 5_000;
        let entry = |every: u64| (self.steps / every + 1) as f64;
        let own: Vec<&String> = self.probe.iter().filter(|entry| parts(entry).0 == name).collect();
        match own.as_slice() {
            [] => 0.0,
            [one] => match parts(one).1.map(str::parse::<u64>) {
                Some(Ok(every @ 1..)) => entry(every),
                Some(_) => 0.0,
                None => {
                    let regular = |t: &&u64| self.probe_every.is_some_and(|every| t.is_multiple_of(every));
                    let apart = self.probe_at.iter().filter(|t| !regular(t)).count() as f64;
                    self.probe_every.map_or(0.0, entry) + apart
                }
            },
            // Several intervals share steps.
            _ => {
                let looked_at = self.steps.min(LOOKED_AT);
                let count = (0..=looked_at).filter(|&t| self.due(name, t)).count() as f64;
                count * (self.steps + 1) as f64 / (looked_at + 1) as f64
            }
        }
    }

    fn entry_due(&self, entry: &str, t: u64) -> bool {
        match parts(entry).1.map(str::parse) {
            Some(Ok(every)) => t.is_multiple_of(every),
            Some(Err(_)) => false,
            None => {
                self.probe_every.is_some_and(|every| t.is_multiple_of(every)) || self.probe_at.binary_search(&t).is_ok()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_follows_its_own_interval_or_the_common_one() {
        let probe = ["landscape:50", "moments:1", "ics"].map(Into::into).into();
        let mut settings = Settings { probe, probe_every: Some(20), probe_at: vec![7], ..Settings::defaults("dln") };
        settings.resolve().unwrap();
        let due = |t| ["landscape", "moments", "ics", "random"].map(|name| settings.due(name, t));
        assert_eq!(due(0), [true, true, true, false]);
        assert_eq!(due(7), [false, true, true, false]);
        assert_eq!(due(20), [false, true, true, false]);
        assert_eq!(due(50), [true, true, false, false]);
        assert!(settings.asks("ics") && !settings.asks("random") && settings.probes_at(3));
    }

    #[test]
    fn how_often_a_probe_runs_is_counted_without_every_step() {
        for (probe, every, at) in [
            (vec!["landscape:50"], None, vec![]),
            (vec!["landscape"], Some(20), vec![7, 40, 999]),
            (vec!["landscape"], None, vec![7, 40]),
            (vec!["landscape:3", "landscape:7"], None, vec![]),
            (vec!["moments"], Some(2), vec![]),
        ] {
            let probe = probe.into_iter().map(Into::into).collect();
            let settings =
                Settings { steps: 1_000, probe, probe_every: every, probe_at: at, ..Settings::defaults("dln") };
            let count = (0..=1_000).filter(|&t| settings.due("landscape", t)).count();
            assert_eq!(settings.due_count("landscape"), count as f64, "{settings:?}");
        }
        // As many steps as there can be: at once.
        let many =
            Settings { steps: u64::from(u32::MAX) - 1, probe: vec!["ics:1".into()], ..Settings::defaults("dln") };
        assert_eq!(many.due_count("ics"), f64::from(u32::MAX));
    }

    #[test]
    fn what_is_no_interval_is_refused() {
        for entry in ["landscape:0", "landscape:", "landscape:-1", "landscape:1.5", "nothing:3"] {
            let mut settings = Settings { probe: vec![entry.into()], ..Settings::defaults("dln") };
            let error = settings.resolve().unwrap_err().to_string();
            assert!(error.contains("--probe ") && error.contains(parts(entry).0), "{error}");
        }
    }
}
