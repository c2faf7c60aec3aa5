"""What merges: batches, cells, documents and their replica logs. The only room that imports pycrdt."""
