"""The catalogues: one TOML file a language."""
