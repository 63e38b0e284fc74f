-- Every event without a click of its own: nothing is inferred.
SELECT events.*, NULL AS chosen
FROM events
