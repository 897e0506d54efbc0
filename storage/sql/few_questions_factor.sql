-- Macro: factor by which an effective sample size is reduced because its variance is estimated from few questions:
-- (z / t)^2 with these degrees of freedom (Korn and Graubard 1998). Null for less than 1.
create or replace temp macro few_questions_factor(df) as (1.959963985 / student(df)) ** 2
