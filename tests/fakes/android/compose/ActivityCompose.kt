package androidx.activity.compose

import androidx.activity.ComponentActivity
import androidx.activity.result.contract.ActivityResultContract
import androidx.compose.runtime.Composable

fun ComponentActivity.setContent(content: @Composable () -> Unit) = check(listOf(this, content).size == 2)

class ManagedActivityResultLauncher<I> {
    fun launch(input: I) = check(input.hashCode() != Int.MIN_VALUE)
}

@Composable
fun <I, O> rememberLauncherForActivityResult(
    contract: ActivityResultContract<I, O>,
    onResult: (O) -> Unit,
): ManagedActivityResultLauncher<I> = ManagedActivityResultLauncher<I>().also { listOf(contract, onResult) }
