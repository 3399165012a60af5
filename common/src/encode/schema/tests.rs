//! The JSON Schemas in `docs`, made from the very types that are written, with the meanings that the references give. Tests
//! only: the committed files are held against what the types say.
//!
//! `SONDE_BLESS=1 cargo test -p sonde-common --lib schema` writes them anew.

use std::collections::BTreeMap;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::{native, record};
use crate::time::Timestamp;

impl JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({ "type": "string", "format": "date-time" })
    }
}

/// Meanings of the fields by their paths: the rows of a reference's tables.
fn meanings(doc: &str) -> BTreeMap<String, String> {
    doc.lines()
        .filter_map(|line| {
            let (path, rest) = line.strip_prefix("| `")?.split_once("` | ")?;
            let (_, meaning) = rest.split_once(" | ")?;
            Some((path.to_owned(), meaning.trim_end_matches(" |").to_owned()))
        })
        .collect()
}

/// Takes away what says nothing to a reader of the output: `null`, which is never written, formats of numbers, and the names of
/// our types and words behind them.
fn tidy(schema: &mut Value, path: &str, meanings: &BTreeMap<String, String>) {
    let Some(object) = schema.as_object_mut() else { return };
    object.remove("description");
    if let Some(Value::Array(types)) = object.get_mut("type") {
        types.retain(|name| name != "null");
        if types.len() == 1 {
            let only = types.remove(0);
            object.insert("type".to_owned(), only);
        }
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    for several in ["anyOf", "oneOf"] {
        let Some(Value::Array(mut choices)) = object.remove(several) else { continue };
        choices.retain(|choice| choice["type"] != "null");
        let mut words = Vec::new();
        for choice in &mut choices {
            tidy(choice, path, &BTreeMap::new());
            match choice {
                Value::Object(choice) if choice.contains_key("const") => {
                    words.extend(choice.get("const").cloned())
                }
                Value::Object(choice) if choice.contains_key("enum") => {
                    words.extend(choice["enum"].as_array().into_iter().flatten().cloned());
                }
                _ => {}
            }
        }
        if !words.is_empty() {
            object.insert("type".to_owned(), json!("string"));
            object.insert("enum".to_owned(), Value::Array(words));
        } else if let Some(Value::Object(first)) = choices.into_iter().next() {
            // Addresses of either version are texts.
            object.extend(first);
        }
    }
    if object.get("format").is_some_and(|format| format != "date-time") {
        object.remove("format");
    }
    if object.get("required").is_some_and(|names| names == &json!([])) {
        object.remove("required");
    }
    if !path.is_empty() {
        object.remove("title");
    }
    if let Some(meaning) = meanings.get(path) {
        object.insert("description".to_owned(), json!(meaning));
    }
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    if let Some(Value::Object(fields)) = object.get_mut("properties") {
        fields.iter_mut().for_each(|(name, field)| tidy(field, &below(name), meanings));
    }
    if let Some(field) = object.get_mut("additionalProperties") {
        tidy(field, &below("*"), meanings);
    }
    if let Some(items) = object.get_mut("items") {
        tidy(items, &format!("{path}[]"), meanings);
    }
}

/// The schema of what a type is written as.
fn schema_of<T: JsonSchema>(doc: &str, about: &str) -> Value {
    let settings =
        SchemaSettings::draft2020_12().for_serialize().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema, "", &meanings(doc));
    let about = format!("{about} New fields may come: skip what you do not know.");
    let mut all = Map::new();
    for (name, value) in [
        ("$schema", schema["$schema"].clone()),
        ("title", schema["title"].clone()),
        ("description", json!(about)),
    ] {
        all.insert(name.to_owned(), value);
    }
    if let Value::Object(rest) = schema {
        for (name, value) in rest {
            all.entry(name).or_insert(value);
        }
    }
    Value::Object(all)
}

/// The part of a reference below one heading, with what holds for all.
fn section(doc: &str, heading: &str) -> String {
    let of = |heading: &str| {
        let (_, rest) = doc.split_once(&format!("\n## {heading}\n")).unwrap();
        rest.split("\n## ").next().unwrap().to_owned()
    };
    of("Every record") + &of(heading)
}

#[test]
fn schemas_are_what_the_types_say() {
    let alerts = include_str!("../../../../docs/alerts.md");
    let records = include_str!("../../../../docs/records.md");
    let all = [
        (
            "alert",
            include_str!("../../../../docs/alert.schema.json"),
            schema_of::<native::Document<'_>>(
                alerts,
                "One line of `sonde run`, `sonde replay --format ndjson` and `sonde explain --format json`.",
            ),
        ),
        (
            "summary",
            include_str!("../../../../docs/summary.schema.json"),
            schema_of::<record::SummaryDocument<'_>>(
                &section(records, "Summary"),
                "A record of kind `summary`.",
            ),
        ),
        (
            "health",
            include_str!("../../../../docs/health.schema.json"),
            schema_of::<record::HealthDocument<'_>>(
                &section(records, "Health"),
                "A record of kind `health`.",
            ),
        ),
        (
            "audit",
            include_str!("../../../../docs/audit.schema.json"),
            schema_of::<record::AuditDocument<'_>>(&section(records, "Audit"), "A record of kind `audit`."),
        ),
    ];
    for (name, kept, schema) in all {
        let found = serde_json::to_string_pretty(&schema).unwrap() + "\n";
        if std::env::var_os("SONDE_BLESS").is_some() {
            let path = format!("{}/../docs/{name}.schema.json", env!("CARGO_MANIFEST_DIR"));
            std::fs::write(path, found).unwrap();
        } else {
            assert!(
                kept == found,
                "docs/{name}.schema.json is not what the types say (SONDE_BLESS=1 renews it)"
            );
        }
    }
}
