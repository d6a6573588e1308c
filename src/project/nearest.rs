//! The names most like a mistyped one. Pure.

/// The likest of `names` to `wanted`, if any is alike enough to be meant.
pub(crate) fn nearest<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    ranked(wanted, names).into_iter().next().map(|(_, name)| name)
}

/// Up to three of `paths` that may have been meant by `wanted`: first those of the same file name in another folder.
pub(super) fn nearest_paths(wanted: &str, paths: &[String]) -> Vec<String> {
    let file_name = |path: &str| path.rsplit('/').next().unwrap_or_default().to_owned();
    let mut found: Vec<&str> = paths
        .iter()
        .map(String::as_str)
        .filter(|path| file_name(path) == file_name(wanted))
        .collect();
    found.sort_by_key(|path| path.len());
    for (_, path) in ranked(wanted, paths.iter().map(String::as_str)) {
        if !found.contains(&path) {
            found.push(path);
        }
    }
    found.into_iter().take(3).map(str::to_owned).collect()
}

/// Names within a third of `wanted`'s length in edits, the nearest first.
fn ranked<'a>(wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<(usize, &'a str)> {
    let wanted = wanted.to_lowercase();
    let allowed = (wanted.chars().count() / 3).max(1);
    let mut found: Vec<(usize, &str)> = names
        .into_iter()
        // The distance is at least the difference in length, and costs much more to find out.
        .filter(|name| name.len().abs_diff(wanted.len()) <= allowed * 4)
        .map(|name| (strsim::damerau_levenshtein(&wanted, &name.to_lowercase()), name))
        .filter(|(distance, _)| *distance <= allowed)
        .collect();
    found.sort();
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_name_is_found_and_a_far_one_is_not() {
        assert_eq!(nearest("time-out", ["timeout", "entry", "grace"]), Some("timeout"));
        assert_eq!(nearest("colour", ["timeout", "entry", "grace"]), None);
    }

    #[test]
    fn the_same_file_name_elsewhere_comes_first() {
        let paths = ["a.py", "mian.py", "src/main.py", "deep/er/main.py", "readme.md"].map(str::to_owned);
        assert_eq!(
            nearest_paths("main.py", &paths),
            ["src/main.py", "deep/er/main.py", "mian.py"]
        );
    }
}
