-- Macro: variance of the sum of two classes' parts: none where the parts do not vary, or one takes back what the other
-- adds, but for what rounding leaves. Null where one of them is not known.
create or replace temp macro summed_variance(positive_variance, negative_variance, covariance) as if(
    positive_variance + negative_variance + 2 * covariance
    <= greatest(1e-24, 1e-12 * (positive_variance + negative_variance)),
    0,
    positive_variance + negative_variance + 2 * covariance
)
