-- One row per firing in a context of `numbered`: whose it is, where in its window, and the activation. Needs `firings`.
select
    numbered.feature,
    numbered.context,
    firings.position - numbered.start as position,
    firings.activation
from firings
inner join numbered
    on
        firings.feature = numbered.feature
        and firings.sequence = numbered.sequence
        and firings.position >= numbered.start
        and firings.position < numbered.start + $window
