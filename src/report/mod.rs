//! Plots and tables, from plain data that this room defines: it knows nothing of networks, runs or files.
//!
//! - `table.rs`: a table as aligned text, and numbers to a given number of significant digits;
//! - `plot.rs`: what a figure is: panels, axes, series. Everything else here draws it;
//! - `scale.rs`: from values to places on an axis, and where its ticks stand;
//! - `trace.rs`: from a series to the pieces of line that are drawn: broken where a value is missing, thinned where
//!   there are more values than the page has places;
//! - `style.rs`: colours, dashes and markers, and the style sheet with its dark half;
//! - `svg.rs`: the few SVG elements a figure needs, with escaping and fixed number formats;
//! - `layout.rs`: a figure as an SVG document: [`Figure::svg`];
//! - `axes.rs`: one panel of it;
//! - `text.rs`: a panel as text for a terminal: [`Panel::text`].
//!
//! The same input gives the same bytes: no dates, no hash order, no fonts measured on the machine.

mod axes;
mod diagram;
mod layout;
mod page;
mod plot;
mod scale;
mod style;
mod svg;
mod table;
mod text;
mod trace;

pub use diagram::{Block, Column, Diagram};
pub use page::{Captioned, ClaimRow, Explorer, Faceted, Page, Picture, Section, Verdict};
pub use plot::{Axis, Figure, Kind, Panel, Ridge, Scale, Series};
pub use style::{STYLES, Style};
pub use table::{Cell, Table, significant};
pub use text::TextSize;
