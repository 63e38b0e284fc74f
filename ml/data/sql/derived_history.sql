-- Each user's values in pieces of the sequence's length, every piece with the one before it: whatever the newest value
-- is that an impression may see, its whole sequence lies in one piece. A user's list as a whole would be copied for each
-- of the user's impressions, which for a bot is the square of its log.
CREATE TEMP TABLE {table}_history AS
WITH pieces AS (
    SELECT user_key, (place - 1) // {max_length} AS piece, list(value ORDER BY place) AS members
    FROM {table}_values
    GROUP BY user_key, piece
)
SELECT
    pieces.user_key,
    pieces.piece,
    list_concat(coalesce(previous.members, []), pieces.members) AS members,
    pieces.piece * {max_length} - coalesce(len(previous.members), 0) AS places_before
FROM pieces
LEFT JOIN pieces AS previous ON pieces.user_key = previous.user_key AND pieces.piece = previous.piece + 1
