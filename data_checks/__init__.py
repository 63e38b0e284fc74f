"""Rules over joined samples, the verdict on each day, and the receipts that trainers obey; no rows are made here."""
