package androidx.compose.material3

import androidx.compose.foundation.layout.ColumnScope
import androidx.compose.foundation.layout.PaddingValues
import androidx.compose.foundation.layout.RowScope
import androidx.compose.foundation.layout.WindowInsets
import androidx.compose.runtime.Composable
import androidx.compose.ui.Modifier
import androidx.compose.ui.graphics.Color
import androidx.compose.ui.text.TextStyle

@RequiresOptIn(message = "This API may change.")
annotation class ExperimentalMaterial3Api

class ColorScheme(val primary: Color, val error: Color)

class Typography(
    val titleMedium: TextStyle = TextStyle(),
    val titleSmall: TextStyle = TextStyle(),
    val labelLarge: TextStyle = TextStyle(),
    val bodySmall: TextStyle = TextStyle(),
)

object MaterialTheme {
    val colorScheme: ColorScheme
        @Composable get() = lightColorScheme()
    val typography: Typography
        @Composable get() = Typography()
}

fun lightColorScheme(): ColorScheme = ColorScheme(Color(0u), Color(1u))

fun darkColorScheme(): ColorScheme = ColorScheme(Color(2u), Color(3u))

fun dynamicLightColorScheme(context: android.content.Context): ColorScheme = lightColorScheme().also { context.hashCode() }

fun dynamicDarkColorScheme(context: android.content.Context): ColorScheme = darkColorScheme().also { context.hashCode() }

@Composable
fun MaterialTheme(colorScheme: ColorScheme, typography: Typography = Typography(), content: @Composable () -> Unit) {
    listOf(colorScheme, typography)
    content()
}

@Composable
fun Text(text: String, modifier: Modifier = Modifier, color: Color? = null, style: TextStyle? = null) =
    check(listOf(text, modifier, color, style).size == 4)

@Composable
fun Button(onClick: () -> Unit, modifier: Modifier = Modifier, enabled: Boolean = true, content: @Composable RowScope.() -> Unit) =
    check(listOf(onClick, modifier, enabled, content).size == 4)

@Composable
fun OutlinedButton(onClick: () -> Unit, modifier: Modifier = Modifier, enabled: Boolean = true, content: @Composable RowScope.() -> Unit) =
    check(listOf(onClick, modifier, enabled, content).size == 4)

@Composable
fun TextButton(onClick: () -> Unit, modifier: Modifier = Modifier, enabled: Boolean = true, content: @Composable RowScope.() -> Unit) =
    check(listOf(onClick, modifier, enabled, content).size == 4)

@Composable
fun Card(modifier: Modifier = Modifier, content: @Composable ColumnScope.() -> Unit) = check(listOf(modifier, content).size == 2)

@Composable
fun FilterChip(
    selected: Boolean,
    onClick: () -> Unit,
    label: @Composable () -> Unit,
    modifier: Modifier = Modifier,
    enabled: Boolean = true,
) = check(listOf(selected, onClick, label, modifier, enabled).size == 5)

@Composable
fun LinearProgressIndicator(modifier: Modifier = Modifier) = check(modifier.hashCode() != Int.MIN_VALUE)

@Composable
fun LinearProgressIndicator(progress: () -> Float, modifier: Modifier = Modifier) = check(progress() >= 0 && modifier.hashCode() != Int.MIN_VALUE)

@Composable
fun OutlinedTextField(
    value: String,
    onValueChange: (String) -> Unit,
    modifier: Modifier = Modifier,
    placeholder: (@Composable () -> Unit)? = null,
) = check(listOf(value, onValueChange, modifier, placeholder).size == 4)

@Composable
fun Scaffold(
    modifier: Modifier = Modifier,
    topBar: @Composable () -> Unit = {},
    contentWindowInsets: WindowInsets = WindowInsets(),
    content: @Composable (PaddingValues) -> Unit,
) {
    listOf(modifier, contentWindowInsets)
    topBar()
    content(object : PaddingValues {})
}

@ExperimentalMaterial3Api
@Composable
fun TopAppBar(title: @Composable () -> Unit, modifier: Modifier = Modifier) = check(listOf(title, modifier).size == 2)
