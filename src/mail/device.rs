//! Names the program and the system behind a `User-Agent`. Only names from here are shown: the header is
//! whatever a stranger typed in, and a mail reader would make a link of an address in it.

/// Marks and names, the more special first: nearly every browser also claims to be several others.
const PROGRAMS: &[(&str, &str)] = &[
    ("Edg/", "Edge"),
    ("EdgA/", "Edge"),
    ("EdgiOS/", "Edge"),
    ("OPR/", "Opera"),
    ("SamsungBrowser/", "Samsung Internet"),
    ("Vivaldi/", "Vivaldi"),
    ("Firefox/", "Firefox"),
    ("FxiOS/", "Firefox"),
    ("CriOS/", "Chrome"),
    ("Chrome/", "Chrome"),
    ("Safari/", "Safari"),
    ("curl/", "curl"),
];
const SYSTEMS: &[(&str, &str)] = &[
    ("iPhone", "iOS"),
    ("iPad", "iPadOS"),
    ("Android", "Android"),
    ("Windows", "Windows"),
    ("Macintosh", "macOS"),
    ("CrOS", "ChromeOS"),
    ("Linux", "Linux"),
];

/// Names such as `Firefox, Windows`; none if neither is known.
pub(super) fn device(user_agent: &str) -> Option<String> {
    let find = |table: &[(&str, &'static str)]| {
        let mark = table.iter().find(|(mark, _)| user_agent.contains(mark));
        mark.map(|(_, name)| *name)
    };
    let names: Vec<_> = [find(PROGRAMS), find(SYSTEMS)]
        .into_iter()
        .flatten()
        .collect();
    (!names.is_empty()).then(|| names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn browsers_are_told_by_their_own_mark_and_nothing_else_is_repeated() {
        for (header, name) in [
            (
                "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0",
                Some("Edge, Windows"),
            ),
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
                Some("Safari, iOS"),
            ),
            (
                "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0",
                Some("Firefox, Linux"),
            ),
            ("curl/8.5.0", Some("curl")),
            ("Secure your account at https://evil.example", None),
            ("", None),
        ] {
            assert_eq!(device(header).as_deref(), name, "{header}");
        }
    }
}
