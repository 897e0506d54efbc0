-- Macro: the number of independent draws that give a share the variance that an area under a curve was found to have,
-- times the factor for few questions, but at most as many as two equal classes have whose means differ as accurately as
-- those of P and N contexts, 4 P N / (P + N). The estimated variance of a share of n is share (1 - share) / (n - 1),
-- hence the 1. Where the area does not vary, as one of 0 or 1 cannot, that number times the factor. Null where the
-- variance is not known.
create or replace temp macro area_size(area, variance, positives, negatives, factor) as case
    when variance is null then null
    when area <= 0 or area >= 1 or variance <= 0 then 4 * positives * negatives / (positives + negatives) * factor
    else least(4 * positives * negatives / (positives + negatives), 1 + factor * area * (1 - area) / variance)
end
