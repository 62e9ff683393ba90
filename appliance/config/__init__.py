"""The configuration: one YAML document, its schema, and what it resolves into."""
