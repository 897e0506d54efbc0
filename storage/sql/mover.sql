-- Macro: how far the interval of v a + w b reaches, where those of a and b reach x and y and r is the correlation of
-- the two: MOVER (Zou and Donner 2008). What stands under the root is negative only by rounding.
create or replace temp macro mover(v, x, w, y, r) as sqrt(abs((v * x) ** 2 + (w * y) ** 2 + 2 * r * v * x * w * y))
