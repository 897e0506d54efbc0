-- Macro: a correlation of two classes that was estimated from so many questions. One below 0 makes intervals narrower,
-- and with few questions it does so by chance: it is less by the share 1 / (questions - 1), the variance of one that is
-- there by chance alone. One above 0 makes them wider and is left as it is. Null for one question.
create or replace temp macro shrunk_correlation(r, questions) as if(r < 0, r * (1 - 1 / nullif(questions - 1, 0)), r)
