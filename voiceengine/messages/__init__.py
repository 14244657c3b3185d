"""Text messages and e-mail: records, delivery, documents of SMS applications."""
