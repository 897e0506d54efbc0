-- Macro: variance of a sum of residuals, whose mean is 0, from the sum over questions of the squares of what each
-- question adds to it (Obuchowski 1997); from the sum of products with another class's, the covariance with that one's.
-- Null where one question has all of them.
create or replace temp macro clustered(squares, questions) as squares * questions / nullif(questions - 1, 0)
