//! The first screen: the question, the answer, and the most telling claims, each with a small figure and one number.

use super::super::page::Headline;
use super::parts::{badge, class, paragraphs};
use super::view::View;
use maud::{Markup, PreEscaped, html};

/// Everything above the table of contents.
pub fn opening(view: &View) -> Markup {
    let page = view.page;
    let cards: Vec<Markup> = page.headlines.iter().filter_map(|headline| card(view, headline)).collect();
    html! {
        div.opening.asked[!page.question.is_empty()] {
            div.answer {
                h1 { (page.title) }
                @if !page.question.is_empty() { p.question { (page.question) } }
                @if !page.answer.is_empty() {
                    ol.sentences {
                        @for sentence in &page.answer {
                            // What it says stands out from what that rests on.
                            @match sentence.split_once(": ") {
                                Some((says, grounds)) => li { b { (says) } ": " (grounds) },
                                None => li { (sentence) },
                            }
                        }
                    }
                }
                // Where nothing was answered, how it was judged stands on top.
                @if page.answer.is_empty() { (paragraphs(&page.summary)) }
            }
            @if !page.setting.is_empty() { p.setting { (page.setting) } }
            @if !cards.is_empty() {
                ul.cards aria-label="Headline claims" { @for card in cards { (card) } }
            }
        }
    }
}

/// A claim at a glance; it links to the claim in its section.
fn card(view: &View, headline: &Headline) -> Option<Markup> {
    let at = view.page.claims.iter().position(|claim| claim.id == headline.claim)?;
    let (claim, to) = (&view.page.claims[at], view.entries[at].as_ref().unwrap_or(&view.rows[at]));
    let (before, after) = headline.words.split_once("{}").unwrap_or((&headline.words, ""));
    let svg = headline.svg.find("<svg").map_or("", |from| &headline.svg[from..]);
    Some(html! {
        li.card.(class(claim.verdict)) {
            p.head { (badge(claim.verdict)) }
            p.shows { span.place { (claim.place) } " " (headline.title) }
            @if svg.is_empty() {
                p.large aria-hidden="true" { (headline.number) }
            } @else {
                div.small-figure { (PreEscaped(svg)) }
            }
            p.words {
                a href=(format!("#{to}")) { (before) @if headline.words.contains("{}") { b { (headline.number) } } (after) }
            }
        }
    })
}
