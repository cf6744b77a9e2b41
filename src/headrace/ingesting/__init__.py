"""How data come in: files, databases, REST, pages of tables, to typed Parquet with a quarantine and a provenance."""
