//! The paths in a source file: what it imports, and which names it uses from where.

/// A path as it stands in the text, from the module of its file.
#[derive(Debug)]
pub struct Path {
    /// `["super", "scale", "Ticks"]`
    pub words: Vec<String>,
    /// The name that a `use` gives it, `*` for everything; none where it stands in code.
    pub name: Option<String>,
    /// It is handed on: `pub use`.
    pub public: bool,
}

/// The paths of a source file, and the single words of its code. What is compiled for tests alone does not count.
pub fn read(text: &str) -> (Vec<Path>, Vec<String>) {
    let mut reader = Reader { tokens: tokens(text), at: 0, depth: 0, inline: Vec::new(), paths: Vec::new() };
    let words = reader.items();
    (reader.paths, words)
}

/// Words, `::`, and punctuation; no comments, no strings, nothing of lifetimes but their names.
fn tokens(text: &str) -> Vec<String> {
    let text: Vec<char> = text.chars().collect();
    let is = |at: usize, c: char| text.get(at) == Some(&c);
    let word = |at: usize| text.get(at).is_some_and(|c| c.is_alphanumeric() || *c == '_');
    let (mut found, mut at) = (Vec::new(), 0);
    while at < text.len() {
        let start = at;
        at += 1;
        match text[start] {
            '/' if is(at, '/') => at += text[at..].iter().take_while(|c| **c != '\n').count(),
            'r' if is(at, '"') || is(at, '#') && (is(at + 1, '"') || is(at + 1, '#')) => {
                let marks = text[at..].iter().take_while(|c| **c == '#').count();
                at += marks + 1;
                while !(is(at, '"') && (1..=marks).all(|mark| is(at + mark, '#'))) {
                    at += 1;
                }
                at += marks + 1;
            }
            '"' => {
                while !is(at, '"') {
                    at += 1 + usize::from(is(at, '\\'));
                }
                at += 1;
            }
            '\'' if is(at, '\\') => at += 3 + text[at + 2..].iter().take_while(|c| **c != '\'').count(),
            '\'' if is(at + 1, '\'') => at += 2,
            ':' if is(at, ':') => {
                at += 1;
                found.push("::".into());
            }
            c if word(start) => {
                while word(at) {
                    at += 1;
                }
                let _ = c;
                found.push(text[start..at].iter().collect());
            }
            c if c.is_whitespace() => {}
            c => found.push(c.into()),
        }
    }
    found
}

struct Reader {
    tokens: Vec<String>,
    at: usize,
    /// Of braces, and the depths at which modules inside the file begin.
    depth: usize,
    inline: Vec<usize>,
    paths: Vec<Path>,
}

impl Reader {
    fn ahead(&self, by: usize) -> &str {
        self.tokens.get(self.at + by).map_or("", |token| token)
    }

    fn next(&mut self) -> String {
        self.at += 1;
        self.tokens[self.at - 1].clone()
    }

    fn items(&mut self) -> Vec<String> {
        let mut words = Vec::new();
        let mut public = false;
        while self.at < self.tokens.len() {
            if self.tokens[self.at..].iter().take(7).eq(["#", "[", "cfg", "(", "test", ")", "]"]) {
                self.skip_item();
                continue;
            }
            let token = self.next();
            match token.as_str() {
                "{" => self.depth += 1,
                "}" => {
                    self.depth -= 1;
                    self.inline.pop_if(|depth| *depth == self.depth);
                }
                "mod" if self.ahead(1) == "{" => self.inline.push(self.depth),
                "use" => self.import(Vec::new(), public),
                "pub" => {}
                word if starts_word(word) => {
                    let mut path = vec![token.clone()];
                    while self.ahead(0) == "::" && starts_word(self.ahead(1)) {
                        self.at += 1;
                        path.push(self.next());
                    }
                    words.push(token.clone());
                    // `Kind::Line` is of a `Kind` that is imported or its own.
                    if path.len() > 1 && !token.starts_with(char::is_uppercase) {
                        self.note(path, None, false);
                    }
                }
                _ => {}
            }
            public = token == "pub" || public && matches!(token.as_str(), "(" | "crate" | "super" | "in" | "::" | ")");
        }
        words
    }

    /// A tree of imports below `path`.
    fn import(&mut self, path: Vec<String>, public: bool) {
        match self.next().as_str() {
            "{" => {
                while self.ahead(0) != "}" {
                    self.import(path.clone(), public);
                    if self.ahead(0) == "," {
                        self.at += 1;
                    }
                }
                self.at += 1;
            }
            "*" => self.note(path, Some("*".into()), public),
            "::" => self.import(path, public),
            word if !starts_word(word) => {}
            word => {
                let mut path = path;
                if word != "self" || path.is_empty() {
                    path.push(word.to_owned());
                }
                if self.ahead(0) == "::" {
                    self.at += 1;
                    return self.import(path, public);
                }
                let mut name = path.last().cloned();
                if self.ahead(0) == "as" {
                    self.at += 1;
                    name = Some(self.next());
                }
                self.note(path, name, public);
            }
        }
    }

    /// In a module inside the file `super` is the file's own module, and names that it imports are its own.
    fn note(&mut self, mut words: Vec<String>, name: Option<String>, public: bool) {
        if self.inline.is_empty() {
            return self.paths.push(Path { words, name, public });
        }
        if words[0] == "super" {
            words[0] = "self".into();
        }
        self.paths.push(Path { words, name: None, public: false });
    }

    /// Behind an attribute: its item, to the `;` or over the braces.
    fn skip_item(&mut self) {
        self.at += 7;
        let mut depth = 0;
        while self.at < self.tokens.len() {
            match self.next().as_str() {
                ";" if depth == 0 => return,
                "{" => depth += 1,
                "}" => {
                    depth -= 1;
                    if depth == 0 {
                        return;
                    }
                }
                _ => {}
            }
        }
    }
}

fn starts_word(token: &str) -> bool {
    token.starts_with(|c: char| c.is_alphabetic() || c == '_')
}
