package androidx.compose.foundation

import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.ImageBitmap

class ScrollState

@Composable
fun rememberScrollState(): ScrollState = ScrollState()

fun Modifier.verticalScroll(state: ScrollState): Modifier = apply { state.hashCode() }

@Composable
fun isSystemInDarkTheme(): Boolean = false

@Composable
fun Image(bitmap: ImageBitmap, contentDescription: String?, modifier: Modifier = Modifier) =
    check(bitmap.width >= 0 && contentDescription != "" && modifier.hashCode() != Int.MIN_VALUE)
