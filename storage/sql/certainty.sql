-- Macro: by how much a size shrinks because a variance is found from few questions: (z / t)^2 with one degree of
-- freedom less than there are questions (Korn and Graubard 1998). It is 1 where each of n contexts has its own question
-- and nothing has to be found, null where one question has them all.
create or replace temp macro certainty(questions, n) as if(
    n = questions, 1.0, (1.959963985 / student(questions - 1)) ** 2
)
