//! Which authentik it is, as far as layouts differ.

/// Year and month of a release.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Version(u16, u8);

impl Version {
    /// The first that keeps nothing in Redis.
    pub(crate) const WITHOUT_REDIS: Self = Self(2025, 10);
    /// The first that keeps its files in `/data`.
    pub(crate) const WITH_DATA: Self = Self(2025, 12);

    /// Of a tag or a version such as `2025.10.1`, `2025.12` or `2026.2.0-rc1`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.trim().trim_start_matches("version/").split(['.', '-']);
        let (year, month) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        ((2018..3000).contains(&year) && (1..=12).contains(&month)).then_some(Self(year, month))
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_releases_are_understood_and_others_are_not() {
        let seen = ["2025.10.1", "2026.2.0-rc1", "2024.8"].map(|text| Version::parse(text).unwrap());
        assert_eq!(seen, [Version(2025, 10), Version(2026, 2), Version(2024, 8)]);
        assert!(["latest", "gh-main", "16", "1.2.3", "2025"].iter().all(|text| Version::parse(text).is_none()));
        assert!(seen[2] < Version::WITHOUT_REDIS && seen[1] >= Version::WITH_DATA);
    }
}
