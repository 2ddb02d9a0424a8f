//! Change by one peer: weights are carried forward, so that little more moves than has to.
