"""Holds the hunting queries of alerts to the parsers of their languages.

Reads NDJSON: alerts of Sonde (`sonde.queries`), or objects with `queries`. Sigma rules go through pySigma: parsed,
validated, and converted for Splunk, Kusto and Elastic. ES|QL goes through the grammar of Elasticsearch. KQL and SPL are
left to others: KQL to check_kql.js, SPL to nobody, since no parser of it can be had. `schema` holds alerts to docs/alert.schema.json.
"""

import argparse
import inspect
import json
import sys
import uuid


def queries(stream):
    """Yields (language, title, text) of every query, each text once."""
    seen = set()
    for line in stream:
        alert = json.loads(line)
        found = alert.get("queries") or alert.get("sonde", {}).get("queries") or {}
        for language, items in found.items():
            for item in items:
                if (language, item["query"]) not in seen:
                    seen.add((language, item["query"]))
                    yield language, item["title"], item["query"]


def check_sigma(rules):
    """Parses, validates and converts; returns what is wrong."""
    from sigma.backends.elasticsearch import LuceneBackend
    from sigma.backends.kusto import KustoBackend
    from sigma.backends.splunk import SplunkBackend
    from sigma.collection import SigmaCollection
    from sigma.exceptions import SigmaError
    from sigma.validation import SigmaValidator
    from sigma.validators.base import SigmaRuleValidator
    from sigma.validators.core import condition, logsources, metadata, modifiers, values

    # Tags are left out, as pySigma fetches ATT&CK for them, and what concerns a collection of rules, not one.
    classes = [
        validator
        for module in (condition, logsources, metadata, modifiers, values)
        for validator in vars(module).values()
        if isinstance(validator, type)
        and issubclass(validator, SigmaRuleValidator)
        and not inspect.isabstract(validator)
        and validator.__module__ == module.__name__
    ]
    if len(classes) < 10:
        sys.exit("pySigma's validators are not where they were")
    validator = SigmaValidator(classes)
    wrong = []
    for title, text in rules:
        try:
            collection = SigmaCollection.from_yaml(text)
            (rule,) = collection.rules
            if not isinstance(rule.id, uuid.UUID) or rule.date is None or rule.level is None:
                wrong.append((title, "no id, date or level", text))
            for issue in validator.validate_rule(rule):
                wrong.append((title, f"{type(issue).__name__}: {issue}", text))
            for backend in (SplunkBackend(), KustoBackend(), LuceneBackend()):
                if not backend.convert(collection)[0]:
                    wrong.append((title, f"{type(backend).__name__}: nothing", text))
        except SigmaError as error:
            wrong.append((title, f"{type(error).__name__}: {error}", text))
    return wrong


def check_esql(items):
    """Parses with the grammar of Elasticsearch; returns what is wrong."""
    from antlr4 import CommonTokenStream, InputStream
    from antlr4.error.ErrorListener import ErrorListener
    from esql_parser.EsqlBaseLexer import EsqlBaseLexer
    from esql_parser.EsqlBaseParser import EsqlBaseParser

    class Listener(ErrorListener):
        def __init__(self):
            self.errors = []

        def syntaxError(self, recognizer, symbol, line, column, message, error):
            self.errors.append(f"{line}:{column}: {message}")

    wrong = []
    for title, text in items:
        listener = Listener()
        lexer = EsqlBaseLexer(InputStream(text))
        parser = EsqlBaseParser(CommonTokenStream(lexer))
        for part in (lexer, parser):
            part.removeErrorListeners()
            part.addErrorListener(listener)
        parser.singleStatement()
        wrong += [(title, error, text) for error in listener.errors]
    return wrong


def check_schema():
    """Holds each alert to the JSON Schema in docs."""
    import pathlib

    import jsonschema

    schema = json.loads((pathlib.Path(__file__).parents[2] / "docs/alert.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    count, wrong = 0, 0
    for line in sys.stdin:
        count += 1
        for error in validator.iter_errors(json.loads(line)):
            wrong += 1
            print(f"alert {count}: {error.json_path}: {error.message}", file=sys.stderr)
    print(f"schema: {count} checked, {wrong} wrong")
    sys.exit(1 if wrong or not count else 0)


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("language", choices=["sigma", "esql", "schema"])
    language = arguments.parse_args().language
    if language == "schema":
        check_schema()
    items = [(title, text) for of, title, text in queries(sys.stdin) if of == language]
    wrong = {"sigma": check_sigma, "esql": check_esql}[language](items)
    for title, what, text in wrong[:5]:
        print(f"{title}: {what}\n{text}\n", file=sys.stderr)
    print(f"{language}: {len(items)} checked, {len(wrong)} wrong")
    sys.exit(1 if wrong or not items else 0)


if __name__ == "__main__":
    main()
