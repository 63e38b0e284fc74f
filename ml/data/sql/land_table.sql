-- One raw table with Postclick's column names and types; a row's place in the log is kept for whoever mends it.
CREATE OR REPLACE TEMP TABLE landed AS
SELECT
    {columns},
    substr(filename, {folder_characters} + 1) AS source_file,
    row_number() OVER () AS source_row
FROM {source}
