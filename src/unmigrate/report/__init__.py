"""Results as people and machines want them: SARIF, annotations, Markdown, JUnit, HTML. Text only; nothing is written or printed here."""
