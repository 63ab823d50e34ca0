package androidx.compose.ui.res

import androidx.compose.runtime.Composable

@Composable
fun stringResource(id: Int): String = "$id"

@Composable
fun stringResource(id: Int, vararg formatArgs: Any): String = "$id ${formatArgs.size}"

@Composable
fun pluralStringResource(id: Int, count: Int, vararg formatArgs: Any): String = "$id $count ${formatArgs.size}"
