//! A page with the anchors of its parts.

use super::super::page::Page;

/// A page with the anchors of its parts.
pub struct View<'a> {
    pub page: &'a Page,
    /// The anchor of each claim's row in the table of claims.
    pub rows: Vec<String>,
    /// The anchor of each claim's entry in its section, where it has one.
    pub entries: Vec<Option<String>>,
    /// The anchor of each section.
    pub sections: Vec<String>,
}
