//! The place that packages are got for: a version of Python, and a C library.

/// Major and minor.
pub type Version = (u32, u32);

/// The images that Batch offers, with the Python and the glibc of each.
const IMAGES: [(&str, Version, Version); 7] = [
    ("ubuntu-24.04", (3, 12), (2, 39)),
    ("ubuntu-22.04", (3, 10), (2, 35)),
    ("debian-12", (3, 11), (2, 36)),
    ("debian-11", (3, 9), (2, 31)),
    ("azurelinux-3", (3, 12), (2, 38)),
    ("almalinux-9", (3, 9), (2, 34)),
    ("almalinux-8", (3, 9), (2, 28)),
];

/// The oldest Python that dray runs.
const OLDEST: Version = (3, 9);

/// Where packages are to run. Default: the newest Ubuntu image that Batch offers, 24.04 with Python 3.12 and glibc 2.39.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// Major and minor version of Python.
    pub python: Version,
    /// Major and minor version of the C library.
    pub glibc: Version,
}

impl Target {
    /// From `--python` (such as `3.12`) and `--platform` (a platform tag such as `manylinux_2_35_x86_64`, or the name of an
    /// image such as `ubuntu-22.04`, which says the Python too).
    ///
    /// # Errors
    /// Which of them is none, with what is allowed.
    pub fn parse(python: Option<&str>, platform: Option<&str>) -> Result<Target, String> {
        let (_, image_python, image_glibc) = match platform {
            None => IMAGES[0],
            Some(text) => match IMAGES.iter().find(|(name, _, _)| *name == text) {
                Some(image) => *image,
                None => ("", IMAGES[0].1, glibc_of(text).ok_or_else(|| unknown_platform(text))?),
            },
        };
        let python = match python {
            None => image_python,
            Some(text) => minor_version(text)
                .filter(|version| *version >= OLDEST)
                .ok_or_else(|| {
                    format!(
                        "option `--python`: `{text}` is not a version of Python from 3.{} on, such as `3.12`",
                        OLDEST.1
                    )
                })?,
        };
        Ok(Target {
            python,
            glibc: image_glibc,
        })
    }

    /// Its platform tag, such as `manylinux_2_39_x86_64`.
    pub fn platform(&self) -> String {
        format!("manylinux_{}_{}_{ARCHITECTURE}", self.glibc.0, self.glibc.1)
    }

    /// Every platform tag that runs there, the best first; pip takes no tag to stand for the older ones.
    pub(super) fn platforms(&self) -> Vec<String> {
        let mut platforms = Vec::new();
        for minor in (5..=self.glibc.1).rev() {
            platforms.push(format!("manylinux_2_{minor}_{ARCHITECTURE}"));
            let alias = match minor {
                17 => "manylinux2014",
                12 => "manylinux2010",
                5 => "manylinux1",
                _ => continue,
            };
            platforms.push(format!("{alias}_{ARCHITECTURE}"));
        }
        platforms.push(format!("linux_{ARCHITECTURE}"));
        platforms
    }
}

const ARCHITECTURE: &str = std::env::consts::ARCH;

fn glibc_of(tag: &str) -> Option<Version> {
    let tag = tag.strip_suffix(ARCHITECTURE)?.strip_suffix('_')?;
    let version = match tag {
        "manylinux2014" => return Some((2, 17)),
        _ => tag.strip_prefix("manylinux_")?.split_once('_')?,
    };
    let version = (version.0.parse().ok()?, version.1.parse().ok()?);
    (version.0 == 2 && (5..1000).contains(&version.1)).then_some(version)
}

fn minor_version(text: &str) -> Option<Version> {
    let (major, minor) = text.split_once('.')?;
    Some((major.parse().ok()?, minor.parse().ok()?)).filter(|(major, _)| *major == 3)
}

fn unknown_platform(text: &str) -> String {
    let images: Vec<String> = IMAGES.iter().map(|(name, _, _)| format!("`{name}`")).collect();
    format!(
        "option `--platform`: `{text}` is neither a tag such as `manylinux_2_35_{ARCHITECTURE}` nor one of {}",
        images.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_is_the_newest_ubuntu_image() {
        let target = Target::parse(None, None).unwrap();
        assert_eq!((target.python, target.glibc), ((3, 12), (2, 39)));
        assert_eq!(target.platform(), "manylinux_2_39_x86_64");
    }

    #[test]
    fn an_image_says_the_python_too_and_the_option_wins() {
        assert_eq!(Target::parse(None, Some("ubuntu-22.04")).unwrap().python, (3, 10));
        let target = Target::parse(Some("3.12"), Some("almalinux-8")).unwrap();
        assert_eq!((target.python, target.glibc), ((3, 12), (2, 28)));
        let target = Target::parse(None, Some("manylinux2014_x86_64")).unwrap();
        assert_eq!((target.python, target.glibc), ((3, 12), (2, 17)));
    }

    #[test]
    fn older_platforms_follow_the_newer_ones() {
        let platforms = Target::parse(None, Some("manylinux_2_18_x86_64")).unwrap().platforms();
        assert_eq!(
            platforms[..3],
            ["manylinux_2_18_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64"]
        );
        assert_eq!(platforms.last().unwrap(), "linux_x86_64");
    }

    #[test]
    fn what_is_neither_is_refused() {
        for (python, platform) in [
            (Some("3.8"), None),
            (Some("312"), None),
            (None, Some("win_amd64")),
            (None, Some("x")),
        ] {
            assert!(Target::parse(python, platform).is_err(), "{python:?} {platform:?}");
        }
    }
}
