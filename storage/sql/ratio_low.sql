-- Macro: lower end of the interval of a / b, where a's begins at a_low, b's ends at b_high, and r is the correlation of
-- the two: MOVER-R (Donner and Zou 2012), the lesser root of (a - x b)^2 = (a - a_low)^2 + x^2 (b_high - b)^2
-- - 2 r x (a - a_low) (b_high - b), whose discriminant is negative only by rounding. The upper end is 1 over the lower
-- end of b / a.
create or replace temp macro ratio_low(a, a_low, b, b_high, r) as if(
    a_low <= 0,
    0.0,
    a_low * (2 * a - a_low) / (
        a * b - r * (a - a_low) * (b_high - b) + sqrt(
            abs(
                (a * b - r * (a - a_low) * (b_high - b)) ** 2
                - b_high * (2 * b - b_high) * a_low * (2 * a - a_low)
            )
        )
    )
)
