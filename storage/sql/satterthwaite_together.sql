-- Macro: as satterthwaite, where questions have contexts of both classes: their variances are then found from the same
-- questions and do not err apart, so that the standard errors of the two add up, not their squares.
create or replace temp macro satterthwaite_together(
    positive_variance, positive_questions, negative_variance, negative_questions, questions
) as case
    when positive_variance + negative_variance > 1e-24
        then
            greatest(
                1,
                least(
                    questions - 1,
                    (
                        (positive_variance + negative_variance)
                        / (
                            positive_variance / sqrt(positive_questions - 1)
                            + negative_variance / sqrt(negative_questions - 1)
                        )
                    ) ** 2
                )
            )
    else least(positive_questions, negative_questions) - 1
end
