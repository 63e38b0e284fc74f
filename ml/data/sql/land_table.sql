-- One raw table with Postclick's column names and types; a row's place in the log is kept for whoever mends it.
CREATE OR REPLACE TEMP TABLE landed AS
SELECT
    {columns},
    substr({file}, {folder_characters} + 1) AS source_file,
    {row} AS source_row,
    {line} AS source_line
FROM {source}
